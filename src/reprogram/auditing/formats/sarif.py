"""SARIF 2.1.0, which code hosts show as security alerts."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reprogram.auditing.flags import KINDS, Flag
from reprogram.auditing.formats._location import location_uri
from reprogram.auditing.formats._words import (
    MEASURE,
    NO_TECHNIQUE,
    PAPER,
    RUNG_WORDS,
    TAGS,
    WHAT,
    RungWords,
    sentence,
    shown,
    where_from,
)
from reprogram.auditing.formats.base import Format
from reprogram.auditing.report import AuditReport, Estimate
from reprogram.utils.text import slug

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

ADVICE = (
    "Decide whether this is acceptable for the model. Show callers fewer labels and no scores, limit how many images "
    "an account may ask, and look for accounts whose images share their border. None of this prevents reprogramming; "
    "it makes it dearer: audit the model again with the defence in place."
)
"""What to do about a gain."""


class Sarif(Format):
    """A rule for each rung of access, with an alert for each task that is shown to be given away, and for each flag.

    GitHub shows an alert only where it has a file: it is the host's own, where the spec names one, else the audit's
    `audit.json`. The command ends with exit code 0, so that the
    step that uploads the file runs, unless no report could be made.
    """

    file = "audit.sarif"
    sets_exit_code = False

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            location: the file that alerts point to, relative to the repository's root; by default the host's.
            category: of the analysis, by which a code host tells several audits of one repository apart; by default
                the host's name.
        """

        location: str = ""
        category: str = ""

    def render(self, report: AuditReport, folder: Path) -> str:
        """The report as SARIF; see `Format.render`."""
        uri = location_uri(report, folder, self.config.location)
        flags = [flag for flag in report.flags if flag.name in KINDS]
        rules = [*map(_rung_rule, RUNG_WORDS.values()), *(_flag_rule(name) for name in _flag_names(flags))]
        index = {rule["id"]: number for number, rule in enumerate(rules)}
        results = [
            *(_finding(report, estimate, index, uri) for estimate in shown(report.estimates)),
            *(
                _flag_result(report, flag, sum(f.name == flag.name for f in flags[:number]), index, uri)
                for number, flag in enumerate(flags)
            ),
        ]
        category = self.config.category or f"reprogram-audit-{slug(report.host.spec)[-80:]}"
        run = {
            "tool": {
                "driver": {
                    "name": "reprogram",
                    "version": report.version,
                    "informationUri": PAPER,
                    "fullName": "reprogram audit: adversarial reprogramming of image classifiers",
                    "shortDescription": {"text": "Measures how much of another task a stranger gets out of a model."},
                    "rules": rules,
                }
            },
            "automationDetails": {"id": f"{category}/{report.ended or report.checksum}"},
            "invocations": [_invocation(report)],
            "artifacts": [{"location": {"uri": uri}, "roles": ["analysisTarget"]}],
            "results": results,
            "columnKind": "utf16CodeUnits",
            "properties": {"verdict": report.verdict.text, "level": report.verdict.level, "madeBy": where_from(report)},
        }
        text = json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)
        return text + "\n"


def _rung_rule(words: RungWords) -> dict[str, Any]:
    full = f"Somebody who sees {words.sees} makes the model do a task that its owner never meant it for. {WHAT}"
    return {
        "id": words.rule,
        "name": "ReprogrammableWith" + words.name.title().replace(" ", ""),
        "shortDescription": {"text": f"The model can be reprogrammed by whoever sees {words.sees}."},
        "fullDescription": {"text": full[:1024]},
        "help": {
            "text": f"{full}\n\n{MEASURE}\n\n{ADVICE}\n\n{NO_TECHNIQUE}",
            "markdown": f"{full}\n\n{MEASURE}\n\n**What to do.** {ADVICE}\n\n{NO_TECHNIQUE}",
        },
        "helpUri": PAPER,
        "defaultConfiguration": {"level": "error" if words.severity >= 7 else "warning"},
        "properties": {"tags": list(TAGS), "security-severity": f"{words.severity:.1f}", "precision": "high"},
    }


def _flag_names(flags: list[Flag]) -> list[str]:
    """The kinds of flags that were raised, in the order of `KINDS`."""
    raised = {flag.name for flag in flags}
    return [name for name in KINDS if name in raised]


def _flag_id(name: str) -> str:
    """RPG101 and on, by the place of the kind among all kinds."""
    return f"RPG1{list(KINDS).index(name) + 1:02d}"


def _flag_rule(name: str) -> dict[str, Any]:
    kind = KINDS[name]
    advice = kind.advice[:1].upper() + kind.advice[1:] + "."
    return {
        "id": _flag_id(name),
        "name": name.title().replace("-", ""),
        "shortDescription": {"text": kind.title + "."},
        "fullDescription": {"text": kind.meaning[:1024]},
        "help": {
            "text": f"{kind.meaning}\n\n{advice}",
            "markdown": f"{kind.meaning}\n\n**What to do.** {advice}",
        },
        "helpUri": PAPER,
        "defaultConfiguration": {"level": kind.severity},
        "properties": {"tags": ["reliability-of-the-audit"], "precision": "high"},
    }


def _finding(report: AuditReport, estimate: Estimate, index: dict[str, int], uri: str) -> dict[str, Any]:
    words = RUNG_WORDS[estimate.rung]
    price = f" {estimate.translation.text}." if estimate.translation.text else ""
    values = asdict(estimate)
    return {
        "ruleId": words.rule,
        "ruleIndex": index[words.rule],
        "level": "error" if words.severity >= 7 else "warning",
        "kind": "fail",
        "message": {"text": f"{sentence(estimate)}{price} {report.limits[0] if report.limits else ''}".strip()},
        "rank": round(100 * min(max(estimate.interval[0], 0), 1), 1),
        **_where(uri, words.rule, report.host.spec, estimate.task),
        "properties": {
            name: values[name] for name in ("rung", "task", "budget", "accuracy", "gain", "interval", "terms", "over")
        },
    }


def _flag_result(report: AuditReport, flag: Flag, nth: int, index: dict[str, int], uri: str) -> dict[str, Any]:
    rule = _flag_id(flag.name)
    advice = flag.advice[:1].upper() + flag.advice[1:]
    return {
        "ruleId": rule,
        "ruleIndex": index[rule],
        "level": flag.severity,
        "kind": "fail",
        "message": {"text": f"{KINDS[flag.name].title}: {flag.text}. {advice}."},
        **_where(uri, rule, report.host.spec, f"{flag.name} {nth}"),
    }


def _where(uri: str, rule: str, host: str, subject: str) -> dict[str, Any]:
    """The place of an alert, line 1 since a model has no lines, and what it is known by in the next analysis."""
    print_ = hashlib.sha256(json.dumps([rule, host, subject]).encode()).hexdigest()
    region = {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 2}
    return {
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": uri, "index": 0}, "region": region},
                "message": {"text": f"the model {host}"},
            }
        ],
        "partialFingerprints": {"primaryLocationLineHash": f"{print_[:16]}:1", "reprogramFinding/v1": print_},
    }


def _invocation(report: AuditReport) -> dict[str, Any]:
    times = {"startTimeUtc": _utc(report.began), "endTimeUtc": _utc(report.ended)}
    return {
        "executionSuccessful": all(cell.state == "finished" for cell in report.cells),
        "commandLine": report.command,
        **{name: value for name, value in times.items() if value},
        "toolExecutionNotifications": [
            {"level": "note", "message": {"text": text}} for text in (report.verdict.text, *report.limits)
        ],
    }


def _utc(time: str) -> str:
    """An ISO 8601 time as SARIF has it; empty where it is none."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return ""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
