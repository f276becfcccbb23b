"""Figures of the report, as SVG that the page holds in itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from reprogram.evaluation import wilson_interval
from reprogram.paper.book import Row
from reprogram.paper.experiments.base import Picture
from reprogram.report.figures import BLUE, GREY, ORANGE, figure_of, svg

COLOURS = (BLUE, ORANGE, "#3a7d44", "#8338ec", "#b5838d", "#e09f3e", GREY)

MARKERS = "os^Dv"
APART = 1.03
"""Between series, so that one at the same height doesn't cover another."""


def curves(
    series: Mapping[str, Sequence[Row]],
    axis: str,
    *,
    label: str,
    chance: float,
    references: Mapping[str, float] | None = None,
) -> Picture:
    """Test accuracy against what was varied, with 95 % intervals; a line a series.

    Args:
        series: runs by the line's name.
        axis: which of the runs' axes is drawn from left to right, on a logarithmic scale.
        label: of that axis.
        chance: drawn as a dashed line.
        references: other accuracies, as dotted lines.
    """
    figure = figure_of(7, 3.6)
    axes = figure.subplots()
    for place, (colour, (name, rows)) in enumerate(zip(COLOURS * 9, series.items(), strict=False)):
        points: dict[float, list[Row]] = {}
        for row in rows:
            points.setdefault(float(row.axis[axis]), []).append(row)
        xs = sorted(points)
        tests = [[row.result["test"] for row in points[x]] for x in xs]
        counts = [(round(sum(t["accuracy"] * t["n"] for t in at)), sum(t["n"] for t in at)) for at in tests]
        middle = [correct / n for correct, n in counts]
        ends = [wilson_interval(correct, n) for correct, n in counts]
        below = [m - low for m, (low, _) in zip(middle, ends, strict=True)]
        above = [high - m for m, (_, high) in zip(middle, ends, strict=True)]
        style = {"marker": MARKERS[place % len(MARKERS)], "markersize": 5, "capsize": 2, "color": colour, "label": name}
        beside = [x * APART ** (place - (len(series) - 1) / 2) for x in xs]
        axes.errorbar(beside, middle, yerr=(below, above), **style)
    axes.axhline(chance, color=GREY, linestyle="--", linewidth=1, label="chance")
    for name, value in (references or {}).items():
        axes.axhline(value, linestyle=":", linewidth=1, color="black", label=name)
    axes.set(xlabel=label, ylabel="test accuracy", ylim=(0, 1.02))
    axes.set_xscale("log", base=2)
    axes.legend(fontsize=8, ncols=2)
    return Picture(source=svg(figure), wide=True)


def bars(groups: Mapping[str, Mapping[str, float]], *, label: str, chance: float | None = None) -> Picture:
    """Bars in groups: a group a key, a colour a series."""
    figure = figure_of(7.5, 3.4)
    axes = figure.subplots()
    names = list(dict.fromkeys(name for values in groups.values() for name in values))
    width = 0.8 / max(len(names), 1)
    for place, (name, colour) in enumerate(zip(names, COLOURS * 9, strict=False)):
        xs = [i + (place - (len(names) - 1) / 2) * width for i, values in enumerate(groups.values()) if name in values]
        axes.bar(xs, [values[name] for values in groups.values() if name in values], width, color=colour, label=name)
    if chance is not None:
        axes.axhline(chance, color=GREY, linestyle="--", linewidth=1, label="chance")
    axes.set_xticks(range(len(groups)), list(groups), rotation=20, ha="right")
    axes.set(ylabel=label)
    axes.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    return Picture(source=svg(figure), wide=True)


def histograms(values: Mapping[str, Sequence[float]], *, label: str) -> Picture:
    """Distributions of one number for several kinds of inputs."""
    import numpy as np

    figure = figure_of(6, 3)
    axes: Any = figure.subplots()
    edges = np.linspace(min(map(min, values.values())), max(map(max, values.values())) + 1e-9, 41)
    for (name, numbers), colour in zip(values.items(), COLOURS, strict=False):
        axes.hist(numbers, bins=edges, density=True, histtype="step", linewidth=1.8, color=colour, label=name)
    axes.set(xlabel=label, ylabel="density")
    axes.legend(fontsize=8)
    return Picture(source=svg(figure))
