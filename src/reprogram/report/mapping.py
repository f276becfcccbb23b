"""The label map as a drawing: a line from each task label to the host labels that speak for it."""

from typing import Any

from reprogram.report.figures import BLUE, ORANGE, figure_of, svg

ROWS = 20
"""Task labels that are drawn, at the most."""


def label_map(examples: dict[str, Any]) -> str:
    """Draw which host labels speak for which task label.

    Lines are as thick as the weights; those of negative weights are dashed.

    Args:
        examples: what a run keeps for its report: `classes`, `assignment` and, where host labels count differently,
            `weights`.
    """
    classes, rows = examples["classes"][:ROWS], examples["assignment"][:ROWS]
    weights = examples.get("weights") or [[1.0] * len(row) for row in rows]
    hosts = list(dict.fromkeys(name for row in rows for name in row))
    height = max(len(classes), len(hosts))
    figure = figure_of(6.5, 0.5 + 0.24 * height)
    axes = figure.subplots()
    axes.axis("off")
    axes.set(xlim=(-1, 2), ylim=(height, -1))
    left, right = (_spread(len(names), height) for names in (classes, hosts))
    largest = max((abs(weight) for row in weights for weight in row), default=0) or 1
    for place, (row, own) in enumerate(zip(rows, weights, strict=False)):
        for name, weight in zip(row, own, strict=True):
            axes.plot(
                (0, 1),
                (left[place], right[hosts.index(name)]),
                color=BLUE if weight >= 0 else ORANGE,
                linestyle="-" if weight >= 0 else "--",
                linewidth=0.3 + 2.5 * abs(weight) / largest,
                alpha=0.75,
            )
    for names, heights, x, side in ((classes, left, -0.03, "right"), (hosts, right, 1.03, "left")):
        for name, y in zip(names, heights, strict=True):
            axes.text(x, y, name.replace("$", r"\$")[:40], ha=side, va="center", fontsize=8)
    return svg(figure)


def _spread(count: int, height: int) -> list[float]:
    """Places of so many names, evenly over the height."""
    return [(place + 0.5) * height / count - 0.5 for place in range(count)]
