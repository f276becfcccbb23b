"""JUnit XML, which CI servers show as tests: a test for each rung, task and budget, and one for each flag."""

from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from reprogram.auditing.flags import KINDS
from reprogram.auditing.formats._words import sentence, where_from
from reprogram.auditing.formats.base import Format
from reprogram.auditing.report import AuditReport, CellResult, Estimate
from reprogram.auditing.verdict import SMALLEST_GAIN
from reprogram.errors import ConfigError
from reprogram.utils.text import printable


class JUnit(Format):
    """A test fails where a gain is shown: where the lower end of its interval lies above `above`.

    A flag of severity "error", and a cell that failed, are errors; other flags are skipped tests with the text of the
    flag.
    """

    file = "audit.junit.xml"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            above: the gain up to which a test passes, −1 to 1; by default as in the verdict.
        """

        above: float = SMALLEST_GAIN

        def __post_init__(self) -> None:
            if not -1 <= self.above <= 1:
                raise ConfigError(f"above={self.above}; a gain from -1 to 1 is expected")

    def render(self, report: AuditReport, folder: Path) -> str:
        """The report as JUnit XML; see `Format.render`."""
        root = Element("testsuites", name=_text(f"reprogram audit of {report.host.spec}"))
        for attack in report.grid.attacks:
            suite = SubElement(root, "testsuite", name=f"access: {attack.rung}", timestamp=report.ended[:19])
            properties = SubElement(suite, "properties")
            for name, value in vars(attack).items():
                SubElement(properties, "property", name=name, value=_text(value))
            for estimate in report.estimates:
                if estimate.rung == attack.rung:
                    self._estimate(suite, report, estimate)
            for cell in report.cells:
                if cell.rung == attack.rung and cell.state == "failed":
                    case = SubElement(suite, "testcase", classname=_text(cell.task), name=_text(cell.name), time="0")
                    SubElement(case, "error", message=_text(cell.error), type="failed-cell").text = _text(cell.error)
        _flags(root, report)
        for suite in root:
            cases = suite.findall("testcase")
            kinds = (("tests", None), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))
            for name, tag in kinds:
                suite.set(name, str(sum(tag is None or case.find(tag) is not None for case in cases)))
            suite.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.3f}")
        for name in ("tests", "failures", "errors", "skipped"):
            root.set(name, str(sum(int(suite.get(name, 0)) for suite in root)))
        root.set("time", f"{sum(float(suite.get('time', 0)) for suite in root):.3f}")
        indent(root)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"

    def _estimate(self, suite: Element, report: AuditReport, estimate: Estimate) -> None:
        cells: list[CellResult] = [cell for cell in report.cells if cell.name in estimate.cells]
        name = f"{estimate.task}, {estimate.budget:,} images"
        time = f"{sum(cell.seconds for cell in cells):.3f}"
        case = SubElement(suite, "testcase", classname=f"audit.{estimate.rung}", name=_text(name), time=time)
        text = sentence(estimate)
        if estimate.interval[0] > self.config.above:
            message = f"gain {estimate.gain:+.3f}, at least {estimate.interval[0]:+.3f} > {self.config.above:g}"
            SubElement(case, "failure", message=message, type="hijack-gain").text = _text(text)
        SubElement(case, "system-out").text = _text(f"{text}\n{estimate.translation.text}")


def _flags(root: Element, report: AuditReport) -> None:
    """A suite for what speaks against the numbers; what the audit can't show is its output."""
    suite = SubElement(root, "testsuite", name="flags of the audit", timestamp=report.ended[:19])
    seen: list[str] = []
    for flag in report.flags:
        seen.append(flag.name)  # CI servers know a case by class and name.
        name = flag.name if seen.count(flag.name) == 1 else f"{flag.name} {seen.count(flag.name)}"
        case = SubElement(suite, "testcase", classname="audit.flags", name=name, time="0")
        text = _text(f"{flag.text}. {flag.advice}.")
        title = KINDS[flag.name].title if flag.name in KINDS else flag.name
        if flag.severity == "error":
            SubElement(case, "error", message=title, type=flag.severity).text = text
        else:
            SubElement(case, "skipped", message=_text(f"{title}: {flag.text}"))
    lines = (report.verdict.text, *report.limits, where_from(report))
    SubElement(suite, "system-out").text = _text("\n".join(lines))


def _text(value: object) -> str:
    """Text that XML can hold: no control characters but line breaks."""
    return "\n".join(printable(line) for line in str(value).split("\n"))
