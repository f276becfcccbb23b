"""The report as it is kept: the content of `audit.json`, whose schema is published."""

import json
from pathlib import Path

from reprogram.auditing.file import to_json
from reprogram.auditing.formats.base import Format
from reprogram.auditing.report import AuditReport


class JSON(Format):
    """All numbers of the audit. `auditing/schema.json` describes every field."""

    file = "audit.json"

    def render(self, report: AuditReport, folder: Path) -> str:
        """The report as JSON; see `Format.render`."""
        return json.dumps(to_json(report), indent=2, allow_nan=False) + "\n"
