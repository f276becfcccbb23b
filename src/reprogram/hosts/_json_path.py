"""Places in a JSON value, as `predictions[0].scores[*].label`; data, never code."""

import re
from typing import Any

from reprogram.errors import ConfigError

STEP = re.compile(r"(?:^|\.)([^.\[\]]+)|\[(\d+|\*)\]")


class JsonPath:
    """A place in a JSON value: names after dots, `[3]` for an item of a list, `[*]` for all items.

    The empty path is the value itself. After a `[*]` the result is a list, one item for each of the list's.

    Args:
        text: the path.

    Raises:
        ConfigError: the text is no path.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.steps: list[str | int | None] = []
        end = 0
        for match in STEP.finditer(text):
            if match.start() != end:
                break
            name, index = match.groups()
            self.steps.append(name if name is not None else None if index == "*" else int(index))
            end = match.end()
        if end != len(text):
            raise ConfigError(f"path {text!r}: can't read it from {text[end:][:20]!r}; write names[0].like[*].this")

    def get(self, value: Any) -> Any:
        """What lies there.

        Args:
            value: a JSON value.

        Raises:
            LookupError: nothing lies there; the message says what there is instead.
        """
        return self._get(value, self.steps)

    def _get(self, value: Any, steps: list[str | int | None]) -> Any:
        for number, step in enumerate(steps):
            if step is None:
                if not isinstance(value, list):
                    raise LookupError(f"path {self.text!r} expects a list, not {kind_of(value)}")
                return [self._get(item, steps[number + 1 :]) for item in value]
            if isinstance(step, str):
                if not isinstance(value, dict) or step not in value:
                    raise LookupError(f"path {self.text!r} expects {step!r} in {kind_of(value)}")
            elif not isinstance(value, list) or step >= len(value):
                raise LookupError(f"path {self.text!r} expects item {step} in {kind_of(value)}")
            value = value[step]
        return value


def kind_of(value: Any) -> str:
    """What a JSON value is, for messages.

    Args:
        value: any JSON value.
    """
    if isinstance(value, dict):
        return f"an object with {', '.join(repr(str(key)[:30]) for key in list(value)[:5]) or 'nothing in it'}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "null" if value is None else f"{value!r:.40}"
