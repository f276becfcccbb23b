"""The label map as a figure: a line from each task label to the host labels that are mapped to it."""

from typing import Any

from reprogram.report.figures import BLUE, ORANGE, figure_of, svg

ROWS = 20
"""Task labels that are shown, at the most."""


def label_map(examples: dict[str, Any]) -> str:
    """A figure of the host labels that are mapped to each task label.

    Lines are as thick as the weights; those of negative weights are dashed.

    Args:
        examples: a run's `examples.json`, with `classes`, `assignment` and, where host labels differ in their weights,
            `weights`.

    Returns:
        An SVG in a data URL.
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
    for index, (row, row_weights) in enumerate(zip(rows, weights, strict=False)):
        for name, weight in zip(row, row_weights, strict=True):
            axes.plot(
                (0, 1),
                (left[index], right[hosts.index(name)]),
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
    """The heights of `count` names, evenly spaced."""
    # (i + 1/2) height / count − 1/2
    return [(index + 0.5) * height / count - 0.5 for index in range(count)]
