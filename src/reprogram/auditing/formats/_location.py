"""The file that a finding points to: code hosts show none without one."""

import os
from pathlib import Path
from urllib.parse import quote

from reprogram.auditing.report import AuditReport


def location_uri(report: AuditReport, folder: Path, given: str = "") -> str:
    """The URI of the host's file, relative to the working folder where it lies below.

    Args:
        report: the report.
        folder: the audit's folder; its `audit.json` stands in where the host has no file.
        given: a path that somebody named instead; empty for none.
    """
    path = Path(given or report.host.file or folder / "audit.json")
    here = Path.cwd()
    inside = Path(os.path.normpath(here / path))
    if inside.is_relative_to(here):
        return quote(inside.relative_to(here).as_posix())
    return inside.as_uri()
