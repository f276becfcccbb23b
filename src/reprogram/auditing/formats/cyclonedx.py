"""A CycloneDX bill of materials with the host's model card and what was found (ML-BOM)."""

import json
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reprogram.auditing.formats._words import (
    MEASURE,
    NO_TECHNIQUE,
    RUNG_WORDS,
    TERMS,
    WHAT,
    sentence,
    shown,
    where_from,
)
from reprogram.auditing.formats.base import Format
from reprogram.auditing.formats.sarif import ADVICE
from reprogram.auditing.report import AuditReport, Estimate

HOST = "audited-host"
"""The reference by which a finding names the host."""

NAMESPACE = uuid.UUID("5f0c0d58-9c7e-5b0e-8a43-3f4f2f7f3c55")

UNKNOWN = ("", "unknown")
"""Licences that aren't stated."""


class CycloneDX(Format):
    """Each estimate is a performance metric of the host's model card, and each gain that is shown a vulnerability."""

    file = "audit.cdx.json"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            version: of CycloneDX.
        """

        version: Literal["1.6", "1.7"] = "1.6"

    def render(self, report: AuditReport, folder: Path) -> str:
        """The report as a bill of materials; see `Format.render`."""
        document = {
            "$schema": f"http://cyclonedx.org/schema/bom-{self.config.version}.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": self.config.version,
            "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, report.digest or report.checksum)}",
            "version": 1,
            "metadata": {
                "timestamp": report.ended,
                "tools": {"components": [{"type": "application", "name": "reprogram", "version": report.version}]},
                "component": _component(report),
                "properties": [
                    {"name": "reprogram:command", "value": report.command},
                    {"name": "reprogram:checksum", "value": report.checksum},
                ],
            },
            "vulnerabilities": [_vulnerability(report, estimate) for estimate in shown(report.estimates)],
        }
        return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _component(report: AuditReport) -> dict[str, Any]:
    host = report.host
    component: dict[str, Any] = {"type": "machine-learning-model", "bom-ref": HOST, "name": host.id or host.spec}
    if re.fullmatch("[0-9a-f]{64}", host.fingerprint):
        component["hashes"] = [{"alg": "SHA-256", "content": host.fingerprint}]
    if host.licence not in UNKNOWN:
        component["licenses"] = [{"license": {"name": host.licence}}]
    return component | {"modelCard": _model_card(report)}


def _model_card(report: AuditReport) -> dict[str, Any]:
    channels, height, width = report.host.input
    metrics = [metric for estimate in report.estimates for metric in _metrics(estimate)]
    flags = [f"{flag.name}: {flag.text}. {flag.advice}." for flag in report.flags]
    risk = {"name": f"Adversarial reprogramming. {report.verdict.text}", "mitigationStrategy": ADVICE}
    return {
        "modelParameters": {
            "task": "image classification",
            "inputs": [{"format": f"image, {channels} x {height} x {width}"}],
            "outputs": [{"format": f"{report.host.num_classes} labels; access {report.host.access}"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": metrics},
        "considerations": {
            "technicalLimitations": [*report.limits, *flags],
            "ethicalConsiderations": [risk],
        },
        "properties": [
            {"name": "reprogram:audit", "value": where_from(report)},
            {"name": "reprogram:measure", "value": MEASURE},
        ],
    }


def _metrics(estimate: Estimate) -> list[dict[str, Any]]:
    """The gain, the accuracy and every term of an estimate; a slice says where it is measured."""
    where = f"task {estimate.task}; access {estimate.rung}; {estimate.budget:,} images"
    terms = [
        {"type": f"accuracy without a program: {TERMS.get(name, name)}", "value": f"{value:.6f}", "slice": where}
        for name, value in estimate.terms.items()
    ]
    return [
        _metric("net hijack gain", estimate.gain, where, estimate.interval),
        _metric("accuracy of the reprogrammed host", estimate.accuracy, where, estimate.accuracy_interval),
        *terms,
    ]


def _metric(kind: str, value: float, where: str, interval: tuple[float, float]) -> dict[str, Any]:
    ends = {"lowerBound": f"{interval[0]:.6f}", "upperBound": f"{interval[1]:.6f}"}
    return {"type": kind, "value": f"{value:.6f}", "slice": where, "confidenceInterval": ends}


def _vulnerability(report: AuditReport, estimate: Estimate) -> dict[str, Any]:
    words = RUNG_WORDS[estimate.rung]
    rating = {
        "score": words.severity,
        "severity": "high" if words.severity >= 7 else "medium",
        "method": "other",
        "justification": "The less an attacker has to see, the more serious; the score doesn't depend on the gain.",
    }
    proof = {
        "reproductionSteps": report.command,
        "environment": where_from(report),
        "supportingMaterial": [{"contentType": "text/plain", "content": estimate.translation.text}],
    }
    if not estimate.translation.text:
        del proof["supportingMaterial"]
    return {
        "bom-ref": f"{words.rule}-{estimate.task}",
        "id": words.rule,
        "source": {"name": "reprogram audit"},
        "ratings": [rating],
        "cwes": [1039],
        "description": f"The model can be made to do {estimate.task} by whoever sees {words.sees}.",
        "detail": f"{sentence(estimate)} {WHAT} {NO_TECHNIQUE}",
        "recommendation": ADVICE,
        "proofOfConcept": proof,
        "affects": [{"ref": HOST}],
        "properties": [{"name": "misp", "value": "failure-mode-in-machine-learning:6-reprogramming-ML-system"}],
    }
