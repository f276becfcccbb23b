"""`audit.json`: a report as a file, with a schema that is published and a digest that shows alterations."""

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from reprogram.auditing.report import SCHEMA, AuditReport
from reprogram.errors import DataError
from reprogram.utils.files import read_ordinary, write_atomic
from reprogram.utils.signature import attribute_docs

MAX_BYTES = 2**26
"""The largest report that is read."""


def to_json(report: AuditReport) -> dict[str, Any]:
    """The report as JSON values, sealed: its digest is that of everything else.

    Args:
        report: the report; the digest that it holds isn't looked at.
    """
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(report), allow_nan=False))
    return values | {"digest": _digest(values)}


def from_json(values: Any, where: str = "report") -> AuditReport:
    """A report from JSON values.

    Args:
        values: what `to_json` gave.
        where: the source of the values, for the message.

    Raises:
        DataError: it is no report, one of another version, or one that was altered.
    """
    from pydantic import ValidationError

    if not isinstance(values, dict) or not {"schema", "checksum", "digest"} <= set(values):
        raise DataError(f"{where}: is no report of an audit; give an audit.json that reprogram audit wrote")
    if values["schema"] != SCHEMA:
        raise DataError(
            f"{where}: is of version {str(values['schema'])[:20]}, and {SCHEMA} is read; make it with this reprogram"
        )
    if values["digest"] != _digest(values):
        raise DataError(f"{where}: was altered, its digest is that of other content; take the file as it was written")
    try:
        report: AuditReport = _adapter().validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise DataError(f"{where}: is damaged at {field} ({first['msg']}); make it again") from None
    return report


def write_report(path: Path, report: AuditReport) -> AuditReport:
    """Write a report so that the file is whole or not there.

    Args:
        path: of the file, `audit.json` as a rule.
        report: the report.

    Returns:
        The report with its digest.

    Raises:
        WriteError: the file can't be written.
    """
    values = to_json(report)
    write_atomic(path, (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return dataclasses.replace(report, digest=values["digest"])


def read_report(path: Path) -> AuditReport:
    """Read a report.

    Args:
        path: an `audit.json`, or a folder that holds one.

    Raises:
        DataError: it can't be read, or `from_json` refuses it.
    """
    path = path / "audit.json" if path.is_dir() else path
    try:
        content = read_ordinary(path, MAX_BYTES)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error}); give an audit.json") from None
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        raise DataError(f"{path}: is no JSON; give an audit.json that reprogram audit wrote") from None
    return from_json(values, str(path))


def json_schema() -> dict[str, Any]:
    """The schema of `audit.json`, from the classes and their documentation; `auditing/schema.json` holds it."""
    schema: dict[str, Any] = _adapter().json_schema(mode="serialization")
    tables = {AuditReport.__name__: schema, **schema["$defs"]}
    for kind in _classes():
        table = tables[kind.__name__]
        table["additionalProperties"] = False
        table["description"] = (kind.__doc__ or "").partition("\n")[0]
        for name, text in attribute_docs(kind).items():
            table["properties"][name].pop("title", None)
            table["properties"][name]["description"] = text
    schema["properties"]["schema"] |= {"const": SCHEMA}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Report of reprogram audit"}


def _digest(values: dict[str, Any]) -> str:
    """SHA-256 of all values but the digest, as canonical JSON."""
    rest = {name: value for name, value in values.items() if name != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _classes() -> list[type[Any]]:
    from reprogram.auditing import flags, report, subject

    found = [
        value
        for module in (report, subject, flags)
        for value in vars(module).values()
        if dataclasses.is_dataclass(value)
    ]
    return [kind for kind in dict.fromkeys(found) if isinstance(kind, type) and kind is not flags.FlagKind]


@functools.cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(AuditReport)
