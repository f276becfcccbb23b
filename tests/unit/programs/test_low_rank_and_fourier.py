"""Frames of few parameters against NumPy, pixel for pixel."""

import math

import numpy as np
import pytest
import torch

import reprogram
from helpers import tiny_model
from helpers_components import BOX, SIZE, canvas_of, drawn, images, noisy_model, numpy_of
from reprogram.registry import configure


def framed_by(change, canvas):
    """The canvas with a change around the window."""
    change = np.array(change)
    change[..., BOX, BOX] = 0
    return np.clip(canvas + change, 0, 1)


@pytest.mark.parametrize("std", [0.2, 3.0])
@pytest.mark.parametrize("rank", [1, 3, 16])
def test_low_rank_is_the_frame_of_a_product(rank, std):
    model = noisy_model(f"low-rank(rank={rank})", std=std)
    program = model.program
    product = np.einsum("cyr,crx->cyx", numpy_of(program.columns)[0], numpy_of(program.rows)[0])
    assert all(np.linalg.matrix_rank(channel) == min(rank, SIZE) for channel in product)
    np.testing.assert_allclose(drawn(model), framed_by(np.tanh(product) / 2, canvas_of(model)), atol=1e-5)
    assert sum(p.numel() for p in program.parameters()) == 3 * rank * 2 * SIZE


@pytest.mark.parametrize("rank", [0, -1, 17, 10**12])
def test_a_rank_that_no_picture_has_is_refused(rank, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        tiny_model(program=f"low-rank(rank={rank})")
    one_line(error, "from 1 to 16")


@pytest.mark.parametrize("spec,std", [("low-rank(rank=4, init=0.3)", 0.3), ("fourier(init=0.3)", 0.3)])
def test_parametrised_frames_start_with_the_given_deviation(spec, std):
    """In pixels before tanh, whatever the parametrisation: seen through the frame that they draw."""
    values = []
    for seed in range(4):
        model = tiny_model(program=spec, size=64, seed=seed)
        frame = numpy_of(model.program(model.canvas(images())).frame)[:, :, :28]  # Above the window.
        values.append(np.arctanh((frame - 0.5) * 2))
    assert np.std(values) == pytest.approx(std, rel=0.12)


@pytest.mark.parametrize("size", [16, (15, 18), (17, 13)])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_fourier_is_numpys_inverse_real_fft(power, size):
    height, width = (size, size) if isinstance(size, int) else size
    model = noisy_model(f"fourier(power={power})", size=size)
    weight = numpy_of(model.program.weight)[0]
    full = np.array(
        [
            [max(math.hypot(fy, fx), 1 / max(height, width)) ** -power for fx in np.fft.fftfreq(width)]
            for fy in np.fft.fftfreq(height)
        ]
    )
    scale = full[:, : width // 2 + 1] / math.sqrt(2 * (full**2).mean())
    pixels = np.fft.irfft2((weight[..., 0] + 1j * weight[..., 1]) * scale, s=(height, width), norm="ortho")
    change, window = np.tanh(pixels) / 2, model.canvas.geometry.window
    change[:, window.rows, window.columns] = 0
    np.testing.assert_allclose(drawn(model), np.clip(canvas_of(model) + change, 0, 1), atol=1e-5)


def test_fourier_learns_low_frequencies_first():
    """The same gradient of every pixel moves W where S is large."""
    model = noisy_model("fourier(power=1.0)", std=0.0)
    frame = model.program(model.canvas(images())).frame
    upstream = torch.zeros_like(frame)
    upstream[0, 0, 1, 1] = 1
    (gradient,) = torch.autograd.grad((frame * upstream).sum(), model.program.weight)
    size = gradient[0, 0].norm(dim=-1)
    assert size[1, 1] > 3 * size[7, 7]


def test_fourier_frequencies_out_of_range_are_refused(one_line):
    for power in (-0.1, 4.1):
        with pytest.raises(reprogram.ConfigError) as error:
            configure("programs", f"fourier(power={power})")
        one_line(error, "power")
