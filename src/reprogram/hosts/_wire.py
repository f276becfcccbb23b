"""What is sent to a service and what comes back, and the two ways in which that may be no answer."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from reprogram.utils.text import printable


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is sent.

    Attributes:
        path: follows the host's URL.
        body: the bytes; None for a GET.
        headers: by name, without credentials.
    """

    path: str = ""
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, value: Any, path: str = "", **headers: str) -> "Request":
        """A request with a JSON body.

        Args:
            value: the JSON value.
            path: follows the host's URL.
            headers: more of them; `_` stands for `-`.
        """
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        body = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
        return cls(path=path, body=body, headers={"Content-Type": "application/json", **named})


@dataclass(frozen=True, kw_only=True)
class Response:
    """What came back.

    Attributes:
        status: the HTTP status.
        headers: by lower-case names.
        body: the whole of it.
        clean: takes secrets out of a text.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    clean: Callable[[str], str] = str

    @cached_property
    def document(self) -> Any:
        """The body as a JSON value, without secrets; None where it is none."""
        try:
            value = json.loads(self.body)
            return _cleaned(value, self.clean) if b"\\" in self.body else value  # What is escaped wasn't seen in bytes.
        except (ValueError, RecursionError):
            return None

    def json(self) -> Any:
        """The body as a JSON value.

        Raises:
            GarbledError: it is none, and may have been cut off.
            WrongAnswerError: it is none, and it is whole: a page of HTML, a compressed body, or nothing at all.
        """
        if self.document is not None:
            return self.document
        kind = printable(self.headers.get("content-type", "unnamed")).partition(";")[0][:60]
        start = printable(self.body[:40].decode("utf-8", "replace"))
        encoding = printable(self.headers.get("content-encoding", "identity"))[:20]
        if encoding != "identity":
            raise WrongAnswerError(f"answered in the encoding {encoding}, which wasn't asked for")
        is_whole = kind == "text/html" or not self.body.strip() or self.body.strip() == b"null"
        kind_of_error = WrongAnswerError if is_whole else GarbledError
        raise kind_of_error(f"answered with {len(self.body)} bytes of {kind} that are no JSON: {start!r}")


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:
    """A JSON value whose texts are cleaned."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(item, clean) for item in value]
    if isinstance(value, dict):
        return {clean(key): _cleaned(item, clean) for key, item in value.items()}
    return value


class GarbledError(Exception):
    """A response that is no whole answer, such as one that was cut off; the message says what is wrong with it."""


class WrongAnswerError(Exception):
    """A whole response that can't be the answer, whenever one asks again; the message says what is wrong with it."""
