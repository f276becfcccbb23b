"""The files of a finished audit beside `audit.json`: its pages and formats, and what they show."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from reprogram.auditing.file import write_report
from reprogram.auditing.formats._pictures import BEFORE_AND_AFTER, SHOWN, strongest_cell
from reprogram.auditing.formats.base import Format
from reprogram.auditing.probe import Prober
from reprogram.auditing.report import AuditReport
from reprogram.errors import ReprogramError
from reprogram.hosts.base import Host
from reprogram.model import Reprogrammed
from reprogram.registry import configure
from reprogram.report.examples import host_answers, picture, spread
from reprogram.tasks.base import Task
from reprogram.utils.files import read_json, write_atomic


def format_of(spec: str) -> Format:
    """The format that a spec names.

    Args:
        spec: such as `sarif`, or "junit(above=0.2)".

    Raises:
        ConfigError: there is no such format, or no such option.
    """
    variant, config = configure("formats", spec)
    found: Format = variant(config)
    return found


def write_format(report: AuditReport, folder: Path, form: Format) -> tuple[Path, str]:
    """Write a report in a format into the audit's folder; `audit.json` itself stays as it is.

    Args:
        report: the report.
        folder: the audit's folder.
        form: the format.

    Returns:
        The file, and its text.

    Raises:
        WriteError: the file can't be written.
    """
    text = form.render(report, folder)
    path = folder / form.file
    return (path if form.file == "audit.json" else write_atomic(path, text.encode())), text


def finish(report: AuditReport, prober: Prober, *, tasks: Mapping[str, Task], out: Path) -> AuditReport:
    """Ask what the page's pictures need, and write `audit.json` and the page into the audit's folder.

    Args:
        report: the report; the images that are asked now count in it as questions beside the cells.
        prober: of the audit, which knows the host, and what was asked beside.
        tasks: by their short names.
        out: the audit's folder.

    Returns:
        The report as it was written.

    Raises:
        WriteError: a file can't be written.
    """
    task, probe, bill = tasks.get(report.verdict.task or ""), report.probe, report.bill
    if task is not None and probe is not None:
        with prober.log.counting(prober.host):
            asked = ask_before_and_after(prober.host, task, report, out)
        probe = replace(probe, asked=probe.asked + asked)
        bill = replace(bill, images=bill.images + asked)
    if probe is not None:
        more = max(prober.spent - prober.lost - probe.asked, 0)
        bill = replace(bill, images=bill.images + more, lost=bill.lost + prober.lost, beside=bill.beside + more)
    cost = None if report.price is None else report.price * (bill.images + bill.lost) / 1000
    report = replace(report, bill=replace(bill, cost=cost), probe=probe)
    report = write_report(out / "audit.json", report)
    write_format(report, out, format_of("html"))
    return report


@torch.no_grad()
def ask_before_and_after(host: Host, task: Task, report: AuditReport, folder: Path) -> int:
    """Ask the host about some of the images that the strongest program's report shows, without the program.

    The answers lie in the audit's folder, beside those with the program, and aren't asked again. A host that isn't
    here isn't asked: it would be billed for.

    Args:
        host: the host.
        task: the task of the report's verdict.
        report: the report.
        folder: the audit's folder.

    Returns:
        The number of images that were asked, now or before.
    """
    cell = strongest_cell(report)
    if cell is None or not cell.folder or not host.is_local:
        return 0
    path = folder / BEFORE_AND_AFTER
    try:
        known = read_json(path)
        if known["cell"] == cell.name:
            return len(known["pairs"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # Nothing is known yet.
    count = report.grid.test_images
    test = task.with_test_sample("all" if count is None else count, seed=cell.seed).test
    canvas = next(attack.canvas for attack in report.grid.attacks if attack.rung == cell.rung)
    model = Reprogrammed.build(host, task, canvas=canvas, program="none", label_map="frequency")
    try:
        examples = read_json(folder / cell.folder / "examples.json")["examples"][:SHOWN]
        indices = spread(test.labels, len(examples))
        framed = model.canvas(test.images[indices].to(model.canvas.frame.device))
        answers = host_answers(model, host(framed))
    except (OSError, ValueError, KeyError, TypeError, ReprogramError):
        return 0  # The page goes without.
    pairs = [
        {**example, "before": answer, "before_picture": picture(pixels)}
        for example, answer, pixels in zip(examples, answers, framed.dense().cpu(), strict=True)
    ]
    write_atomic(path, json.dumps({"cell": cell.name, "pairs": pairs}).encode())
    return len(pairs)
