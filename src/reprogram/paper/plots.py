"""Figures of the report, as SVG that is embedded in the page."""

from collections.abc import Mapping, Sequence
from typing import Any

from reprogram.evaluation.metrics import wilson_interval
from reprogram.paper.experiments.base import Picture
from reprogram.paper.store import Row
from reprogram.report.figures import BLUE, GREY, ORANGE, figure_of, svg

COLOURS = (BLUE, ORANGE, "#3a7d44", "#8338ec", "#b5838d", "#e09f3e", GREY)

MARKERS = "os^Dv"
APART = 1.03
"""Factor between the horizontal positions of neighbouring series, so that no point covers another."""


def plain(text: str) -> str:
    """A text as Matplotlib is to show it, which would read what stands between two $ as a formula.

    Args:
        text: a name or a label.
    """
    return text.replace("$", r"\$")


def curves(
    series: Mapping[str, Sequence[Row]],
    axis: str,
    *,
    label: str,
    chance: float,
    references: Mapping[str, float] | None = None,
) -> Picture:
    """A figure of the test accuracy against one axis of the runs, with 95 % intervals and a line for each series.

    Args:
        series: runs by the line's name.
        axis: the name of the runs' axis that is drawn from left to right, on a logarithmic scale.
        label: label of that axis.
        chance: accuracy by chance, in 0 to 1, drawn as a dashed line.
        references: other accuracies by name, drawn as dotted lines.
    """
    figure = figure_of(7, 3.6)
    axes = figure.subplots()
    for index, (colour, (name, rows)) in enumerate(zip(COLOURS * 9, series.items(), strict=False)):
        points: dict[float, list[Row]] = {}
        for row in rows:
            points.setdefault(float(row.axis[axis]), []).append(row)
        xs = sorted(points)
        tests = [[row.result["test"] for row in points[x]] for x in xs]
        # right answers and test images at each x, over the seeds
        counts = [(round(sum(t["accuracy"] * t["n"] for t in at)), sum(t["n"] for t in at)) for at in tests]
        middle = [correct / n for correct, n in counts]
        ends = [wilson_interval(correct, n) for correct, n in counts]
        below = [m - low for m, (low, _) in zip(middle, ends, strict=True)]
        above = [high - m for m, (_, high) in zip(middle, ends, strict=True)]
        style = {
            "marker": MARKERS[index % len(MARKERS)],
            "markersize": 5,
            "capsize": 2,
            "color": colour,
            "label": plain(name),
        }
        beside = [x * APART ** (index - (len(series) - 1) / 2) for x in xs]
        axes.errorbar(beside, middle, yerr=(below, above), **style)
    axes.axhline(chance, color=GREY, linestyle="--", linewidth=1, label="chance")
    for name, value in (references or {}).items():
        axes.axhline(value, linestyle=":", linewidth=1, color="black", label=plain(name))
    axes.set(xlabel=plain(label), ylabel="test accuracy", ylim=(0, 1.02))
    axes.set_xscale("log", base=2)
    axes.legend(fontsize=8, ncols=2)
    return Picture(source=svg(figure), wide=True)


def bars(groups: Mapping[str, Mapping[str, float]], *, label: str, chance: float | None = None) -> Picture:
    """A figure of bars in groups.

    Args:
        groups: heights of the bars by group and, within it, by series; each series has its colour.
        label: label of the vertical axis.
        chance: accuracy by chance, in 0 to 1, drawn as a dashed line; None draws none.
    """
    figure = figure_of(7.5, 3.4)
    axes = figure.subplots()
    names = list(dict.fromkeys(name for values in groups.values() for name in values))
    width = 0.8 / max(len(names), 1)
    for index, (name, colour) in enumerate(zip(names, COLOURS * 9, strict=False)):
        offset = (index - (len(names) - 1) / 2) * width
        xs = [i + offset for i, values in enumerate(groups.values()) if name in values]
        axes.bar(
            xs, [values[name] for values in groups.values() if name in values], width, color=colour, label=plain(name)
        )
    if chance is not None:
        axes.axhline(chance, color=GREY, linestyle="--", linewidth=1, label="chance")
    axes.set_xticks(range(len(groups)), list(map(plain, groups)), rotation=20, ha="right")
    axes.set(ylabel=plain(label))
    axes.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    return Picture(source=svg(figure), wide=True)


def histograms(values: Mapping[str, Sequence[float]], *, label: str) -> Picture:
    """A figure of the distributions of one number for several kinds of inputs.

    Args:
        values: the numbers by kind of input.
        label: label of the horizontal axis.
    """
    import numpy as np

    figure = figure_of(6, 3)
    axes: Any = figure.subplots()
    edges = np.linspace(min(map(min, values.values())), max(map(max, values.values())) + 1e-9, 41)
    for (name, numbers), colour in zip(values.items(), COLOURS, strict=False):
        axes.hist(numbers, bins=edges, density=True, histtype="step", linewidth=1.8, color=colour, label=plain(name))
    axes.set(xlabel=plain(label), ylabel="density")
    axes.legend(fontsize=8)
    return Picture(source=svg(figure))
