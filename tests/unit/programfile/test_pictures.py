"""The label map's picture, pixel by pixel, and what one of a host with very many labels costs."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from reprogram.programfile.pictures import MOST_COLUMNS, MOST_ROWS, map_picture

RNG = np.random.default_rng(0)


def a_map(num_labels, num_classes, each=3, weighted=True):
    """A label map of some host labels each, with random weights."""
    labels = [RNG.choice(num_labels, each, replace=False).tolist() for _ in range(num_classes)]
    weights = RNG.normal(size=(num_classes, each)).tolist() if weighted else None
    return SimpleNamespace(
        num_host_labels=num_labels,
        num_task_labels=num_classes,
        assignment=lambda: labels,
        weights=lambda: weights,
    )


def colours(label_map):
    """The colour of each host label of each row, by a plain loop; the rest is white."""
    given = label_map.weights()
    rows = [
        dict(zip(labels, given[i] if given else [1 / len(labels)] * len(labels), strict=True))
        for i, labels in enumerate(label_map.assignment()[:200])
    ]
    largest = max(abs(value) for row in rows for value in row.values())
    shares = [{label: (value, (abs(value) / largest) ** 0.5) for label, value in row.items()} for row in rows]
    return [
        {
            label: [round(255 * (1 - s) + c * s) for c in ((209, 73, 91) if value < 0 else (42, 111, 151))]
            for label, (value, s) in row.items()
        }
        for row in shares
    ]


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("shape", [(10, 3), (1000, 10), (700, 230), (21_843, 4), (MOST_COLUMNS, 2)])
def test_a_picture_has_a_column_for_each_host_label(shape, weighted):
    label_map = a_map(*shape, weighted=weighted)
    columns, rows = shape[0], min(shape[1], 200)
    across, down = max(-(-600 // columns), 1), max(min(12, 600 // rows), 1)
    picture = map_picture(label_map)
    assert picture.shape == (rows * down, columns * across, 3) and picture.dtype == np.uint8
    expected = np.full((rows, columns, 3), 255)
    for row, found in enumerate(colours(label_map)):
        for label, colour in found.items():
            expected[row, label] = colour
    np.testing.assert_array_equal(picture, np.kron(expected, np.ones((down, across, 1), dtype=int)))


def test_of_too_many_host_labels_neighbours_share_a_column():
    label_map = a_map(1_000_000, 3, each=4000)
    found = colours(label_map)
    expected = np.full((3, MOST_COLUMNS, 3), 255)
    for row, (labels, weights) in enumerate(zip(label_map.assignment(), label_map.weights(), strict=True)):
        best: dict[int, tuple[float, int]] = {}
        for label, weight in zip(labels, weights, strict=True):
            column = label * MOST_COLUMNS // 1_000_000
            best[column] = max(best.get(column, (-1.0, 0)), (abs(weight), label))
        for column, (_, label) in best.items():
            expected[row, column] = found[row][label]
    np.testing.assert_array_equal(map_picture(label_map)[::12], expected)


def test_a_small_file_with_a_million_host_labels_costs_no_gigabytes():
    label_map = a_map(1_000_000, MOST_ROWS + 50, each=1, weighted=False)
    tracemalloc.start()
    try:
        map_picture(label_map)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**28
