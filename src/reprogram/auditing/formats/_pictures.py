"""The pictures of an audit: the curve of gain against budget, the strongest program, and answers before and after."""

from pathlib import Path
from typing import Any

from reprogram.auditing.formats._words import RUNG_WORDS
from reprogram.auditing.report import AuditReport, CellResult
from reprogram.auditing.subject import RUNGS
from reprogram.report.figures import figure_of, svg
from reprogram.utils.files import read_json
from reprogram.utils.text import cut, printable_all

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#555555")
"""One for each rung; people who don't tell all colours apart tell these (Okabe & Ito 2008)."""

MARKERS = ("o", "s", "^", "D", "v")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
"""A marker and a line for each rung: without colours too, each is known."""

BAND = 0.12
"""How dark the area between the ends of the intervals is; up to five lie on each other."""

BEFORE_AND_AFTER = "before-and-after.json"
"""The file in an audit's folder with answers to the same images without and with the strongest program."""

MAX_BYTES = 2**24
"""The largest file that pictures are read from."""

SHOWN = 6
"""Images of which answers are shown."""


def gain_curve(report: AuditReport, task: str) -> str:
    """The net gain of one task against the images asked: a line for each rung, with its 95 % intervals.

    Args:
        report: the report.
        task: the task's short name.

    Returns:
        An SVG in a data URL.
    """
    figure = figure_of(5.0, 4.1)
    axes = figure.subplots()
    drawn = [estimate for estimate in report.estimates if estimate.task == task]
    axes.axhline(0, color="#333333", linewidth=1)
    ends: list[tuple[int, float, int, str]] = []
    for number, rung in enumerate(RUNGS):
        points = sorted((e for e in drawn if e.rung == rung), key=lambda e: e.budget)
        if not points:
            continue
        x, gains = [e.budget for e in points], [e.gain for e in points]
        low, high = [[e.interval[side] for e in points] for side in (0, 1)]
        style: dict[str, Any] = {"color": COLOURS[number], "marker": MARKERS[number], "linestyle": LINES[number]}
        axes.fill_between(x, low, high, color=COLOURS[number], alpha=BAND, linewidth=0)
        # The wider cap lies behind the narrower one, so that intervals at the same budget are told apart.
        axes.vlines(x, low, high, color=COLOURS[number], linestyle=LINES[number], linewidth=1)
        axes.plot([*x, *x], [*low, *high], color=COLOURS[number], marker="_", markersize=14 - 2 * number, linestyle="")
        axes.plot(x, gains, **style, linewidth=1.6, markersize=6, markeredgecolor="white", label=RUNG_WORDS[rung].name)
        ends.append((x[-1], gains[-1], number, RUNG_WORDS[rung].name))
    budgets = sorted({estimate.budget for estimate in drawn}) or list(report.grid.budgets)
    axes.set_xscale("log")
    axes.set_xticks(budgets, [f"{budget:,}" for budget in budgets])
    axes.minorticks_off()
    lowest = min([-0.1, *(e.interval[0] - 0.05 for e in drawn)])
    highest = max([0.2, *(e.interval[1] + 0.05 for e in drawn)])
    axes.set(xlabel="images asked", ylabel="net gain in accuracy", ylim=(lowest, highest), title=_plain(task))
    axes.grid(axis="y", color="#dddddd")
    _label(axes, ends, budgets, highest - lowest)
    if drawn:
        figure.legend(
            title="the attacker sees",
            fontsize="small",
            title_fontsize="small",
            handlelength=3.5,
            loc="outside lower center",
            ncols=3,
        )
    return svg(figure)


def _label(axes: Any, ends: list[tuple[int, float, int, str]], budgets: list[int], height: float) -> None:
    """Name each line at its last point, the names one above another.

    Args:
        axes: of matplotlib, with its budgets and limits.
        ends: budget, gain, the rung's number and its name, of each line.
        budgets: all of them, the smallest first.
        height: of the axis of gains.
    """
    span = max(budgets[-1] / budgets[0], 2.0)
    # A quarter of the logarithmic axis is for the names.
    axes.set_xlim(budgets[0] / span**0.06, budgets[-1] * span**0.42)
    level = float("-inf")
    for budget, gain, number, name in sorted(ends, key=lambda end: end[1]):
        level = max(gain, level + 0.065 * height)
        place = (budget * span**0.04, level)
        axes.annotate(name, (budget, gain), xytext=place, va="center", fontsize="small", color=COLOURS[number])


def strongest(report: AuditReport, folder: Path) -> dict[str, Any] | None:
    """The program that the verdict is about: its picture, and what the host answered to images in it.

    Args:
        report: the report.
        folder: the audit's folder.

    Returns:
        The pictures and texts; None where there is no estimate, or its run is gone.
    """
    cell = strongest_cell(report)
    if cell is None or not cell.folder:
        return None
    run = _read(folder / cell.folder / "examples.json")
    if not isinstance(run, dict):
        return None
    both = _read(folder / BEFORE_AND_AFTER)
    pairs = both.get("pairs", []) if isinstance(both, dict) and both.get("cell") == cell.name else []
    rung, only_label = RUNG_WORDS[cell.rung], cell.rung == "label"
    return {
        "cell": cell,
        "picture": _safe(run.get("program")),
        "sees": rung.sees,
        "pairs": [_pair(pair, only_label) for pair in pairs if isinstance(pair, dict)][:SHOWN],
        "answers": [_pair(one, only_label) for one in run.get("examples", []) if isinstance(one, dict)][:SHOWN],
    }


def strongest_cell(report: AuditReport) -> CellResult | None:
    """The cell with the largest gain among those of the verdict's estimate; None where there is none.

    Args:
        report: the report.
    """
    verdict = report.verdict
    cells = [
        cell
        for cell in report.cells
        if (cell.rung, cell.task, cell.budget) == (verdict.rung, verdict.task, verdict.budget) and cell.gain is not None
    ]
    return max(cells, key=lambda cell: cell.gain or 0.0, default=None)


def _read(path: Path) -> Any:
    """The JSON in a file of this audit; None where there is none that can be shown."""
    try:
        return printable_all(read_json(path, MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def _pair(values: dict[str, Any], only_label: bool) -> dict[str, Any]:
    """An image's pictures and answers, without anything that isn't a picture or a text, as its rung shows them."""
    pictures = {name: _safe(values.get(name)) for name in ("picture", "before_picture")}
    texts = {name: str(values.get(name, "")) for name in ("label", "predicted")}
    answers = {name: _answers(values.get(name)) for name in ("host", "before")}
    if only_label:
        answers = {name: [(label, "") for label, _ in rows[:1]] for name, rows in answers.items()}
    return {**pictures, **texts, **answers}


def _answers(answers: Any) -> list[tuple[str, str]]:
    """The host's labels with their probabilities, as text."""
    if not isinstance(answers, list):
        return []
    found = [(answer.get("label", ""), answer.get("probability", 0)) for answer in answers if isinstance(answer, dict)]
    return [
        (str(label), "" if share is None else f"{100 * float(share):.0f} %")
        for label, share in found
        if share is None or isinstance(share, int | float)
    ]


def _safe(url: Any) -> str:
    """A picture's data URL; empty for everything else."""
    return url if isinstance(url, str) and url.startswith("data:image/png;base64,") else ""


def _plain(text: str) -> str:
    return cut(text, 40).replace("$", r"\$")
