"""Reports of audits as files: the published schema, reading what was written, and refusing what was altered."""

import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest

import reprogram.auditing
from reprogram.auditing.compare import checksum
from reprogram.auditing.file import _digest, from_json, json_schema, read_report, to_json, write_report
from reprogram.auditing.flags import KINDS, SEVERITIES
from reprogram.errors import DataError

ROOT = Path(__file__).parents[3]
STORED = ROOT / "tests" / "fixtures" / "audit" / "audit.json"
SCHEMA = Path(reprogram.auditing.__file__).parent / "schema.json"


@pytest.fixture(scope="module")
def values():
    return json.loads(STORED.read_bytes())


def test_the_published_schema_is_that_of_the_classes():
    schema = json.loads(SCHEMA.read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == json_schema()
    undocumented = [
        f"{name}.{key}"
        for name, table in {"report": schema, **schema["$defs"]}.items()
        for key, value in table["properties"].items()
        if not value.get("description")
    ]
    assert undocumented == []


def test_a_report_keeps_to_the_schema_and_comes_back_as_it_was(values, tmp_path):
    jsonschema.validate(values, json.loads(SCHEMA.read_bytes()), cls=jsonschema.Draft202012Validator)
    report = from_json(values)
    assert to_json(report) == values
    written = write_report(tmp_path / "audit.json", report)
    assert written == report == read_report(tmp_path)
    assert {flag.name for flag in report.flags} <= set(KINDS)
    assert {kind.severity for kind in KINDS.values()} == set(SEVERITIES)


def test_a_report_of_an_earlier_version_is_read(values):
    """It says nothing of what was asked beside, and of what a host must show at run time."""
    del values["bill"]["beside"]
    for part in (*values["estimates"], *values["cells"]):
        del part["must_show"], part["top_label"]
    for cell in values["cells"]:
        del cell["steps"]
    del values["probe"]["drift_difference"], values["probe"]["error"]
    values["digest"] = _digest(values)
    jsonschema.validate(values, json.loads(SCHEMA.read_bytes()), cls=jsonschema.Draft202012Validator)
    report = from_json(values)
    assert report.bill.beside == 0 and {estimate.must_show for estimate in report.estimates} == {None}


def test_the_stored_report_is_consistent(values):
    """Every number of an estimate follows from its cells."""
    cells = {cell["name"]: cell for cell in values["cells"]}
    for estimate in values["estimates"]:
        own = [cells[name] for name in estimate["cells"]]
        assert estimate["accuracy"] == pytest.approx(sum(cell["accuracy"] for cell in own) / len(own))
        assert estimate["gain"] == pytest.approx(estimate["accuracy"] - max(estimate["terms"].values()))
        assert estimate["interval"][0] <= estimate["gain"] <= estimate["interval"][1]
        assert estimate["translation"]["cost"] == pytest.approx(estimate["translation"]["images"] * 1.2 / 1000)
    best = max(values["estimates"], key=lambda estimate: estimate["interval"][0])
    assert values["verdict"]["gain"] == best["gain"]
    assert values["bill"]["images"] == sum(cell["images"] for cell in values["cells"]) + values["probe"]["asked"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["estimates"][0].update(gain=0.0), "was altered"),
        (lambda v: v["verdict"].update(level="none-shown"), "was altered"),
        (lambda v: v.update(schema=2), "is of version 2"),
        (lambda v: v.pop("checksum"), "is no report"),
    ],
)
def test_an_altered_report_is_refused(values, change, message):
    values = json.loads(json.dumps(values))
    change(values)
    with pytest.raises(DataError, match=message):
        from_json(values)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_what_is_no_report_is_refused(tmp_path, content):
    (tmp_path / "audit.json").write_bytes(content)
    with pytest.raises(DataError, match=r"audit\.json"):
        read_report(tmp_path / "audit.json")


def test_a_missing_report_is_refused(tmp_path):
    with pytest.raises(DataError, match="can't be read"):
        read_report(tmp_path / "nothing.json")


def test_a_damaged_report_with_a_right_digest_is_refused(values):
    report = from_json(values)
    damaged = to_json(dataclasses.replace(report, rate="fast"))
    with pytest.raises(DataError, match="is damaged at rate"):
        from_json(damaged)


def test_the_checksum_is_of_everything_but_the_host(values):
    report = from_json(values)
    assert report.checksum == checksum(report.grid, report.version)
    other_host = tuple(dataclasses.replace(attack, host="linear:48") for attack in report.grid.attacks)
    assert checksum(dataclasses.replace(report.grid, attacks=other_host), report.version) == report.checksum
    for change in ({"seeds": (0,)}, {"budgets": (1000,)}, {"test_images": 100}, {"version": 2}, {"battery": "full"}):
        assert checksum(dataclasses.replace(report.grid, **change), report.version) != report.checksum
    assert checksum(report.grid, "another") != report.checksum
