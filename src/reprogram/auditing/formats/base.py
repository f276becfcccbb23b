"""The contract of a format: a report of an audit as the text of one file."""

from pathlib import Path
from typing import Any, ClassVar

from reprogram.auditing.report import AuditReport
from reprogram.registry import Component


class Format(Component):
    """A format. An author writes `render`, and names the file.

    Attributes:
        file: the name of the file in the audit's folder.
        sets_exit_code: whether a gate may still end the command with its exit code; False where a step that uploads
            the file would be skipped then.

    Args:
        config: the variant's `Config`.
    """

    file: ClassVar[str] = ""
    sets_exit_code: ClassVar[bool] = True

    def __init__(self, config: Any) -> None:
        self.config = config

    def render(self, report: AuditReport, folder: Path) -> str:
        """The report as the text of a file.

        Args:
            report: the report.
            folder: the audit's folder, which holds the runs that the report names; they may be gone.

        Returns:
            The text, which is encoded as UTF-8.
        """
        raise NotImplementedError
