"""Boxes and framed batches."""

import itertools

import numpy as np
import pytest
import torch

import reprogram
from helpers import random_task
from helpers_components import pixels_model
from reprogram.framed import Box, Framed, Geometry


def test_framed_dense_is_the_hand_built_canvas():
    rng = np.random.default_rng(0)
    frame, window = rng.random((1, 2, 6, 7)), rng.random((5, 2, 3, 2))
    framed = Framed(
        frame=torch.from_numpy(frame), window=torch.from_numpy(window), box=Box(top=1, left=4, height=3, width=2)
    )
    expected = np.repeat(frame, 5, axis=0)
    expected[:, :, 1:4, 4:6] = window
    np.testing.assert_array_equal(framed.dense().numpy(), expected)
    assert len(framed) == 5
    np.testing.assert_array_equal(framed.frame.numpy(), frame)
    mask = np.ones((6, 7))
    mask[1:4, 4:6] = 0
    np.testing.assert_array_equal(framed.geometry.mask()[0, 0].numpy(), mask)


def test_box_intersection_against_pixel_sets():
    def pixels(box):
        return set(itertools.product(range(*box.rows.indices(99)[:2]), range(*box.columns.indices(99)[:2])))

    rng = np.random.default_rng(1)
    for _ in range(200):
        a, b = (
            Box(top=t, left=le, height=h, width=w)
            for t, le, h, w in ([*rng.integers(0, 6, 2).tolist(), *rng.integers(1, 5, 2).tolist()] for _ in range(2))
        )
        both = a.intersection(b)
        assert (pixels(both) if both else set()) == pixels(a) & pixels(b)
        assert a.within(7, 7) == (max(p[0] for p in pixels(a)) < 7 and max(p[1] for p in pixels(a)) < 7)


def test_a_window_that_does_not_fit_is_refused(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        Geometry(channels=3, height=8, width=8, window=Box(top=4, left=0, height=5, width=2))
    one_line(error, "8x8")


def test_batch_of_another_geometry_is_refused():
    a = pixels_model("frame", random_task(shape=(3, 8, 8)))
    b = pixels_model("frame", random_task(shape=(3, 8, 10)))
    with pytest.raises(reprogram.ConfigError):
        a.program(b.canvas(torch.zeros(1, 3, 8, 10, dtype=torch.uint8)))
