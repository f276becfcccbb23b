"""The label map as rows of a table: the host labels that are mapped to each task label, legible at any width."""

from typing import Any

ROWS = 20
"""Task labels that are shown at once; the others unfold."""
MOST = 200
"""Task labels that are listed at all."""


def mapping(examples: dict[str, Any]) -> list[dict[str, Any]]:
    """The host labels that are mapped to each task label, with their weights.

    Args:
        examples: a run's `examples.json`, with `classes`, `assignment` and, where host labels differ in their weights,
            `weights`.

    Returns:
        A row for each of the first `MOST` task labels: `name`; `hosts`, each with `label`, `weight` (None where all
        count alike), `share` (the weight's size as a percentage of the largest one) and `negative`; and `more`, the
        number of host labels that aren't named.
    """
    weights = examples.get("weights")
    largest = max((abs(weight) for row in weights or () for weight in row), default=0) or 1
    counts = examples.get("spoken_for_by") or map(len, examples["assignment"])
    rows = []
    for index, (name, labels, count) in enumerate(
        zip(examples["classes"], examples["assignment"], counts, strict=True)
    ):
        of_row = weights[index] if weights else [None] * len(labels)
        hosts = [
            {"label": label, "weight": weight, "share": 100 * abs(weight or 0) / largest, "negative": (weight or 0) < 0}
            for label, weight in zip(labels, of_row, strict=True)
        ]
        rows.append({"name": name, "hosts": hosts, "more": count - len(labels)})
    return rows[:MOST]
