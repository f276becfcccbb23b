"""The formats of an audit: official schemas, GitHub's rules for SARIF, and other people's readers take them."""

import html
import json
import re
import warnings
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from jsonschema import Draft4Validator, Draft7Validator, FormatChecker
from junitparser import JUnitXml
from referencing import Registry, Resource

from reprogram.auditing.file import read_report, to_json
from reprogram.auditing.flags import KINDS
from reprogram.auditing.formats._words import shown
from reprogram.auditing.output import format_of, write_format
from reprogram.auditing.report import AuditReport
from reprogram.errors import ConfigError

FIXTURES = Path(__file__).parents[2] / "fixtures"
SCHEMAS = FIXTURES / "schemas"
EVIL = 'a|b`<script>alert(1)</script>"]]>&\x1b[31m\u202e $x$'


@pytest.fixture(scope="module")
def report() -> AuditReport:
    return read_report(FIXTURES / "audit" / "audit.json")


@pytest.fixture(scope="module")
def odd(report):
    """A report whose texts are hostile, which has every flag, and whose host has a file with a space in its name."""
    task = replace(report.grid.tasks[0], name=EVIL)
    estimates = tuple(replace(e, task=EVIL) if e.task == report.grid.tasks[0].name else e for e in report.estimates)
    return replace(
        report,
        host=replace(report.host, spec=f"python:{EVIL}", id=EVIL, file="hosts/my model.py", licence=EVIL),
        grid=replace(report.grid, tasks=(task, *report.grid.tasks[1:])),
        estimates=estimates,
        flags=tuple(kind.flag(EVIL) for kind in KINDS.values()),
        command=EVIL,
    )


@pytest.fixture(scope="module")
def empty(report):
    """A report of nothing: no cell was finished."""
    nothing = dict.fromkeys(("rung", "task", "budget", "gain", "interval"))
    verdict = replace(report.verdict, level="unknown", text="nothing is known", lower_bound_only=False, **nothing)
    return replace(report, verdict=verdict, estimates=(), cells=(), flags=(), probe=None, rate=None, price=None)


def all_reports(request):
    return [request.getfixturevalue(name) for name in ("report", "odd", "empty")]


def render(spec, report, folder=Path("runs/audit")):
    return format_of(spec).render(report, folder)


def schema(name):
    return json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))


def test_sarif_is_valid_and_of_the_subset_that_github_shows(request):
    validator = Draft4Validator(schema("sarif-2.1.0"), format_checker=FormatChecker())
    for report in all_reports(request):
        document = json.loads(render("sarif", report))
        validator.validate(document)
        (run,) = document["runs"]
        assert document["version"] == "2.1.0" and run["automationDetails"]["id"].count("/") >= 1
        rules = run["tool"]["driver"]["rules"]
        assert len({rule["id"] for rule in rules}) == len(rules)
        for rule in rules:
            assert rule["shortDescription"]["text"] and 0 < len(rule["fullDescription"]["text"]) <= 1024
            assert rule["help"]["text"] and len(rule["properties"]["tags"]) <= 20
        for result in run["results"]:
            assert rules[result["ruleIndex"]]["id"] == result["ruleId"] and result["message"]["text"]
            (location,) = result["locations"]
            place = location["physicalLocation"]
            assert place["artifactLocation"]["uri"] and place["region"]["startLine"] == 1
            assert re.fullmatch("[0-9a-f]{16}:1", result["partialFingerprints"]["primaryLocationLineHash"])
        prints = [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]
        assert len(set(prints)) == len(prints)


def test_sarif_says_what_was_found_and_tags_it(report):
    (run,) = json.loads(render("sarif", report))["runs"]
    found = {(r["properties"]["rung"], r["properties"]["task"]) for r in run["results"] if "properties" in r}
    assert found == {(e.rung, e.task) for e in report.estimates if e.interval[0] > 0} != set()
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    findings = [result for result in run["results"] if result["ruleId"] < "RPG1"]
    for result in findings:
        properties = rules[result["ruleId"]]["properties"]
        assert 0 < float(properties["security-severity"]) <= 10
        wanted = {"security", "external/mitre/AML.T0043.001", "external/mitre/AML.T0034"}
        assert wanted | {"failure-mode-in-machine-learning:6-reprogramming-ML-system"} <= set(properties["tags"])
        assert "no proof of safety" in result["message"]["text"]
    flagged = [result for result in run["results"] if result not in findings]
    assert sorted(result["level"] for result in flagged) == sorted(flag.severity for flag in report.flags)
    severities = [float(rules[f"RPG00{number}"]["properties"]["security-severity"]) for number in range(1, 6)]
    assert severities == sorted(severities)  # The less has to be seen, the worse.


def test_alerts_keep_their_fingerprints_and_point_to_the_hosts_file(report, odd, tmp_path, monkeypatch):
    def prints(of):
        (run,) = json.loads(render("sarif", of))["runs"]
        return {r["partialFingerprints"]["primaryLocationLineHash"] for r in run["results"]}

    better = tuple(replace(e, gain=e.gain + 0.01) for e in report.estimates)
    assert prints(report) == prints(replace(report, estimates=better, ended="2030-01-01T00:00:00+00:00"))
    monkeypatch.chdir(tmp_path)

    def uri(spec, of, folder=Path("runs/audit")):
        (run,) = json.loads(render(spec, of, folder))["runs"]
        return run["artifacts"][0]["location"]["uri"]

    assert uri("sarif", odd) == "hosts/my%20model.py"
    assert uri("sarif", report) == "runs/audit/audit.json"
    assert uri("sarif(location='models/host.toml')", odd) == "models/host.toml"
    inside = replace(odd, host=replace(odd.host, file=str(tmp_path / "weights.pt")))
    assert uri("sarif", inside) == "weights.pt"
    outside = replace(odd, host=replace(odd.host, file="/elsewhere/weights.pt"))
    assert unquote(uri("sarif", outside)) == "file:///elsewhere/weights.pt"


@pytest.mark.parametrize("version", ["1.6", "1.7"])
def test_cyclonedx_is_valid_and_holds_every_estimate(request, version):
    names = {"spdx": "spdx", "jsf-0.82": "jsf-0.82", "cryptography-defs": "cryptography-defs"}
    resources = [
        (f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", Resource.from_contents(schema(file)))
        for name, file in names.items()
    ]
    validator = Draft7Validator(schema(f"bom-{version}"), registry=Registry().with_resources(resources))
    for report in all_reports(request):
        document = json.loads(render(f"cyclonedx(version='{version}')", report))
        validator.validate(document)
        assert document["specVersion"] == version
        card = document["metadata"]["component"]["modelCard"]
        metrics = card["quantitativeAnalysis"]["performanceMetrics"]
        gains = [m for m in metrics if m["type"] == "net hijack gain"]
        assert [float(m["value"]) for m in gains] == pytest.approx([e.gain for e in report.estimates], abs=1e-6)
        ends = [(m["confidenceInterval"]["lowerBound"], m["confidenceInterval"]["upperBound"]) for m in gains]
        assert [(float(a), float(b)) for a, b in ends] == [
            pytest.approx(e.interval, abs=1e-6) for e in report.estimates
        ]
        assert all(e.task in m["slice"] and e.rung in m["slice"] for e, m in zip(report.estimates, gains, strict=True))
        assert card["considerations"]["technicalLimitations"][0] == report.limits[0]
        assert len(document["vulnerabilities"]) == len(shown(report.estimates))
        refs = {document["metadata"]["component"]["bom-ref"]}
        assert {a["ref"] for v in document["vulnerabilities"] for a in v["affects"]} <= refs


def test_junit_fails_where_a_gain_is_shown(request):
    for report in all_reports(request):
        suites = JUnitXml.fromstring(render("junit", report).encode())
        cases = [case for suite in suites for case in suite]
        failed = [case for case in cases if case.result and type(case.result[0]).__name__ == "Failure"]
        assert len(failed) == sum(e.interval[0] > 0 for e in report.estimates) == suites.failures
        broken = sum(cell.state == "failed" for cell in report.cells)
        assert suites.errors == broken + sum(flag.severity == "error" for flag in report.flags)
        assert suites.skipped == sum(flag.severity != "error" for flag in report.flags)
        assert suites.tests == len(cases) == len(report.estimates) + broken + len(report.flags)
        assert suites.time == pytest.approx(sum(suite.time for suite in suites), abs=0.01)


def test_junit_names_no_two_cases_alike(report):
    twice = replace(report, flags=(*report.flags, *report.flags, *report.flags))
    suites = JUnitXml.fromstring(render("junit", twice).encode())
    names = [(case.classname, case.name) for suite in suites for case in suite]
    assert len(twice.flags) >= 3 and len({*names}) == len(names)


def test_a_host_whose_plain_answers_suffice_is_not_headlined_as_safe(report):
    flag = KINDS["answers-alone-suffice"].flag("letters on scores: map_alone reaches 1.00")
    verdict = replace(report.verdict, level="none-shown")
    safe = replace(report, verdict=verdict, flags=())
    assert "wasn't made to do other work" in html.unescape(render("html", safe))
    title = html.unescape(render("html", replace(safe, flags=(flag,))))
    assert "does other work by its plain answers" in title and "wasn't made to do other work" not in title


def test_junit_takes_the_gates_threshold(report):
    above = sorted(e.interval[0] for e in report.estimates)[-2]
    assert JUnitXml.fromstring(render(f"junit(above={above})", report).encode()).failures == 1
    with pytest.raises(ConfigError, match="above=3"):
        format_of("junit(above=3)")


def test_markdown_is_a_section_whose_table_any_reader_reads(report, odd):
    markdown_it = pytest.importorskip("markdown_it", reason="reads Markdown")
    for of in (report, odd):
        text = render("markdown", of)
        tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(text)
        rows = sum(token.type == "tr_open" for token in tokens)
        cells = sum(token.type == "td_open" for token in tokens)
        last = {(e.rung, e.task) for e in of.estimates}
        assert rows == 1 + len(last) and cells == 7 * len(last)
        assert not any(token.type.startswith("html") for token in tokens)
        assert not any(child.type.startswith("html") for token in tokens for child in token.children or ())
        assert "\x1b" not in text and "\u202e" not in text
    assert text.index("no proof of safety") < text.index(odd.verdict.text[:20])


def test_json_is_the_report_itself(report, tmp_path):
    assert json.loads(render("json", report)) == to_json(report)
    (tmp_path / "audit.json").write_text("as it is")
    write_format(report, tmp_path, format_of("json"))
    assert (tmp_path / "audit.json").read_text() == "as it is"


@pytest.mark.parametrize("spec", ["sarif", "junit", "cyclonedx", "markdown", "html"])
def test_formats_are_written_beside_the_report(spec, report, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path, text = write_format(report, tmp_path, format_of(spec))
    assert path.parent == tmp_path and path.read_text(encoding="utf-8") == text


def test_unknown_formats_are_refused():
    with pytest.raises(ConfigError, match="sarif"):
        format_of("sarfi")
