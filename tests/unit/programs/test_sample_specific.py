"""Masks that depend on the image, against NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers import random_task, tiny_model
from helpers_components import canvas_of, drawn, noisy_model, numpy_of


def masks_in_numpy(net, image):
    """The mask network on one image, c h w, in plain loops of NumPy and float64."""
    x = image
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            weight, padded = numpy_of(layer.weight), np.pad(x, ((0, 0), (1, 1), (1, 1)))
            views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
            x = np.einsum("ocij,cyxij->oyx", weight, views) + numpy_of(layer.bias)[:, None, None]
        elif isinstance(layer, nn.GroupNorm):
            x = (x - x.mean()) / np.sqrt(x.var() + layer.eps)
            x = x * numpy_of(layer.weight)[:, None, None] + numpy_of(layer.bias)[:, None, None]
        elif isinstance(layer, nn.ReLU):
            x = np.maximum(x, 0)
        elif isinstance(layer, nn.MaxPool2d):
            c, h, w = x.shape
            x = np.pad(x, ((0, 0), (0, h % 2), (0, w % 2)), constant_values=-np.inf)
            x = x.reshape(c, (h + 1) // 2, 2, (w + 1) // 2, 2).max(axis=(2, 4))
        else:
            x = 1 / (1 + np.exp(-x))
    h, w = image.shape[1:]
    rows, columns = (np.arange(n) * m // n for n, m in ((h, x.shape[1]), (w, x.shape[2])))
    return x[:, rows][:, :, columns]


@pytest.mark.parametrize("canvas,size", [("resize", 24), ("centre", 24), ("resize", (20, 27))])
def test_sample_specific_is_pattern_times_mask(canvas, size):
    model = noisy_model("sample-specific", canvas, std=0.3, size=size)
    before, window = canvas_of(model)[:3], model.canvas.geometry.window
    pattern = np.tanh(numpy_of(model.program.weight))[0] / 2
    frame = numpy_of(model.canvas.frame)[0]
    expected = np.repeat((frame + masks_in_numpy(model.program.mask, frame) * pattern)[None], 3, axis=0)
    for n, image in enumerate(before[:, :, window.rows, window.columns]):
        expected[n][:, window.rows, window.columns] = (
            image + masks_in_numpy(model.program.mask, image) * pattern[:, window.rows, window.columns]
        )
    np.testing.assert_allclose(drawn(model)[:3], np.clip(expected, 0, 1), atol=1e-5)


def test_sample_specific_has_the_originals_size_and_takes_no_random_numbers_of_the_process():
    state = torch.get_rng_state()
    model = tiny_model(program="sample-specific")
    assert torch.equal(torch.get_rng_state(), state)
    assert sum(p.numel() for p in model.program.mask.parameters()) == 26_499
    again, other = (tiny_model(program="sample-specific", seed=s).learned_state() for s in (0, 1))
    same = model.learned_state()
    assert all(torch.equal(value, again[key]) for key, value in same.items())
    assert not torch.equal(same["program.mask.0.weight"], other["program.mask.0.weight"])


@pytest.mark.parametrize("side", [1, 2, 9])
def test_sample_specific_takes_windows_of_any_size(side):
    task = random_task(shape=(1, side, side), separable=False)
    model = tiny_model(task, program="sample-specific")
    assert np.isfinite(drawn(model, task.test.images)).all()
