"""One tree of errors; each class carries the exit code that the command line ends with.

A message is one line: what is wrong, where, and what to do about it.
"""

from collections.abc import Mapping
from typing import Any


class ReprogramError(Exception):
    """Anything that a user can cause and can mend.

    Args:
        message: one line.
        details: everything that the line names the first few of; `--json` prints it.
    """

    exit_code = 3

    def __init__(self, message: str = "", *, details: "tuple[str, ...]" = ()) -> None:
        super().__init__(message)
        self.details = details


class ConfigError(ReprogramError, ValueError):
    """An option, a name or a combination of components that can't work."""


class FolderInUseError(ConfigError):
    """A run folder that another process works in."""


class DataError(ReprogramError):
    """Images, labels or folders that can't be read or don't fit."""


class WriteError(DataError):
    """A file that can't be written; what was there is as it was."""


class ProgramFileError(ReprogramError):
    """A program file that is refused."""

    exit_code = 4


class HostMismatchError(ReprogramError):
    """A program that was learned for another host."""

    exit_code = 5


class HostUnavailableError(ReprogramError):
    """A host whose code or weights aren't here."""

    exit_code = 5


class BudgetError(ReprogramError):
    """A budget of images, time or queries that is spent or can't be met."""


class ProcessLostError(ReprogramError):
    """One of the processes that work together is gone, or none of them can be started."""


class ExportParityError(ReprogramError):
    """An exported or optimised model whose scores differ from the original's."""

    exit_code = 6


WANTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
}
"""What pydantic expects, by how the names of its errors begin."""


def nearest(name: str, names: "list[str] | tuple[str, ...]") -> str:
    """Advice for a name that isn't there: the closest of `names`, or some of them where none is close."""
    import difflib

    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + ", ".join(sorted(names)[:20]) if names else "none is known"


def expected(error: Mapping[str, Any]) -> str:
    """What pydantic found wrong with a value, in our words.

    Args:
        error: of `ValidationError.errors()`.
    """
    kind, value = error["type"], repr(error.get("input"))[:60]
    for start, wanted in WANTED.items():
        if kind.startswith(start):
            return f"{value}; {wanted} is expected"
    if kind == "literal_error":
        return f"{value}; {error['ctx']['expected']} is expected"
    return str(error["msg"]).replace("Input should", f"{value} should")
