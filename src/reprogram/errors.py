"""One tree of errors; each class carries the exit code that the command line ends with.

A message is one line: what is wrong, where, and what to do about it.
"""


class ReprogramError(Exception):
    """Anything that a user can cause and can mend.

    Args:
        message: one line.
        details: all items of a list whose first few the message names; `--json` prints them.
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
    """A file that can't be written; the file that was there before is unchanged."""


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
