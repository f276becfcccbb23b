"""Text from strangers (class names, paths, headers), and numbers as text."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MAX_CLASS_NAME = 256
"""The most characters of a class name."""


def printable(text: object) -> str:
    """Text without control characters: a name that a stranger chose can't steer a terminal or break a page.

    Args:
        text: any text, or an object whose `str` is taken.

    Returns:
        The text with U+FFFD for each unprintable character.
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in as_utf8(str(text)))


def as_utf8(text: str) -> str:
    """Text in which the bytes of a file's name, which Python keeps as surrogates, are read as UTF-8.

    In a locale without UTF-8 every letter of a name but those of ASCII is such bytes.

    Args:
        text: any text, such as an argument or a path.

    Returns:
        The text, with U+FFFD for bytes that aren't UTF-8 and ? for other surrogates: it can be written as UTF-8.
    """
    if is_unicode(text):
        return text
    whole = "".join("?" if "\ud800" <= c < "\udc80" or "\udcff" < c <= "\udfff" else c for c in text)
    return whole.encode(errors="surrogateescape").decode(errors="replace")


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8: the bytes of a file's name that aren't can't be kept in a text file.

    Args:
        text: any text, such as an argument or a path.
    """
    return not any("\ud800" <= c <= "\udfff" for c in text)


def counted(counts: Mapping[str, int], most: int = 8) -> str:
    """Counts as text, the largest first.

    Args:
        counts: how many there are of each kind, by its name.
        most: the most kinds that are named; the others are counted together.
    """
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{count} {printable(name)}" for name, count in ordered[:most]]
    if rest := sum(count for _, count in ordered[most:]):
        parts.append(f"{rest} others")
    return ", ".join(parts)


def cut(text: str, most: int) -> str:
    """A text of some characters at the most; an ellipsis shows where it was cut.

    Args:
        text: any text.
        most: how many characters it may have, 1 or more.
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def slug(text: str) -> str:
    """Text as part of the name of a file or a folder.

    Args:
        text: any text.

    Returns:
        Its letters, digits and dots, with one _ for whatever is between them; "x" where nothing is left.
    """
    return re.sub(r"[^A-Za-z0-9.]+", "_", text).strip("_.") or "x"


def printable_all(value: Any) -> Any:
    """A JSON value in which every text is `printable`.

    Args:
        value: the value: text, number, list, dictionary and so on.
    """
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [printable_all(item) for item in value]
    if isinstance(value, dict):
        return {printable(key): printable_all(item) for key, item in value.items()}
    return value


def difference(value: float, interval: Sequence[float] | None) -> str:
    """A difference of accuracies as text, with its interval.

    Args:
        value: the difference, in [-1, 1].
        interval: its two ends; None where they aren't known.
    """
    ends = "" if interval is None else f" ({interval[0]:+.4f} to {interval[1]:+.4f})"
    return f"{value:+.4f}{ends}"


def html_table(facts: Mapping[str, object]) -> str:
    """Facts as an HTML table for a notebook, a row for each; what they say is escaped.

    Args:
        facts: values by what they are.
    """
    rows = (
        f"<tr><th style='text-align: left'>{html.escape(printable(name))}</th>"
        f"<td style='text-align: left'>{html.escape(printable(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f"<table>{''.join(rows)}</table>"


def html_rows(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows as an HTML table for a notebook; what they say is escaped.

    Args:
        headings: of the columns.
        rows: of values, one for each column.
    """
    head = "".join(f"<th>{html.escape(printable(heading))}</th>" for heading in headings)
    body = ("".join(f"<td>{html.escape(printable(value))}</td>" for value in row) for row in rows)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in body)}</table>"


def sparkline(values: Sequence[float], width: int = 240, height: int = 60) -> str:
    """Numbers of [0, 1] as a small curve in SVG, for a notebook; empty where there are fewer than two.

    Args:
        values: the numbers, at equal distances.
        width: in pixels.
        height: in pixels; it stands for 0 to 1.
    """
    if len(values) < 2:
        return ""
    step = (width - 4) / (len(values) - 1)
    points = " ".join(f"{2 + i * step:.1f},{2 + (height - 4) * (1 - value):.1f}" for i, value in enumerate(values))
    return (
        f"<svg width='{width}' height='{height}' style='vertical-align: middle; border-bottom: 1px solid #8d99ae'>"
        f"<polyline points='{points}' fill='none' stroke='#2a6f97' stroke-width='2'/></svg>"
    )


def shortened(names: Sequence[str], most: int = 10) -> str:
    """The first of some names as text, and how many more there are.

    Args:
        names: the names.
        most: how many are named, at the most.
    """
    more = len(names) - most
    return printable(", ".join(names[:most])) + (f" and {more} more" if more > 0 else "")


def duration(seconds: float) -> str:
    """Seconds, minutes and seconds, minutes, or hours and minutes, as text: no more digits than an estimate has.

    Args:
        seconds: a time, 0 or more.
    """
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(round(seconds / 60), 60)
    if seconds < 600:
        return f"{minutes}:{s:02d} min"
    return f"{hours}:{m:02d} h" if hours else f"{m} min"
