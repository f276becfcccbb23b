"""Columns for a list of runs: the options in which they differ, each with the part of its values that differs."""

from collections.abc import Mapping, Sequence
from typing import Any

UNSHOWN = {"out", "device", "download", "checkpoint_every"}
"""Options that say nothing about what is learned."""

FIRST = ("task", "host", "program", "label_map", "canvas", "precision")
"""The options that stand first."""

LONGEST = 32
"""The most characters of a value that is shown whole."""


def varying_columns(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The options in which configurations differ.

    Args:
        configs: the configurations, by the options' names; one may lack options that others have.

    Returns:
        A text for each configuration, by the option's name; long texts without what all of them begin and end with.
    """
    names = dict.fromkeys([*FIRST, *(name for config in configs for name in config)])
    columns = {}
    for name in names:
        texts = [option_text(config.get(name)) for config in configs]
        if name not in UNSHOWN and len(set(texts)) > 1:
            columns[name] = _shortened(texts)
    return columns


def option_text(value: Any) -> str:
    """An option's value as text; empty where it is missing.

    Args:
        value: a value of a configuration.
    """
    return "" if value is None else " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _shortened(texts: list[str]) -> list[str]:
    """Texts of which some are long, without their common beginning and end."""
    if max(map(len, texts)) <= LONGEST:
        return texts
    start = _common(texts)
    end = _common([text[start:][::-1] for text in texts])
    left, right = ("…" if start > 1 else ""), ("…" if end > 1 else "")
    start, end = start if left else 0, end if right else 0
    return [left + text[start : len(text) - end] + right for text in texts]


def _common(texts: list[str]) -> int:
    """How many characters all texts begin with, up to the end of a word or a number."""
    shortest = min(texts, key=len)
    letters = zip(*texts, strict=False)
    count = next((index for index, column in enumerate(letters) if len(set(column)) > 1), len(shortest))
    while count and (shortest[count - 1].isalnum() or shortest[count - 1] in "._-"):
        count -= 1
    return count
