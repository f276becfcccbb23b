"""Programs of few numbers: tiles, cosine waves and random directions."""

import numpy as np
import pytest
import scipy.fft
import torch

import reprogram
from reprogram import Box, Framed
from reprogram.framed import Geometry
from reprogram.programs._subspace import cosine_basis
from reprogram.registry import configure

WINDOW = Box(top=10, left=8, height=6, width=9)
SPECS = {"tiles(side=4)": 48, "cosine(side=4)": 48, "random-basis(numbers=48)": 48}


def built(spec, channels=3, height=30, width=24):
    geometry = Geometry(channels=channels, height=height, width=width, window=WINDOW)
    variant, config = configure("programs", spec)
    program = variant(config, geometry=geometry)
    frame = torch.full((1, channels, height, width), 0.5)
    window = torch.rand(2, channels, WINDOW.height, WINDOW.width)
    return program, Framed(frame=frame, window=window, box=WINDOW)


def learned(program, framed):
    """2 artanh of what is added to the frame: the subspace's pixels, which are linear in W."""
    return torch.atanh(2 * (program(framed).frame - 0.5))


@pytest.mark.parametrize("spec", SPECS)
def test_few_numbers_and_the_window_is_left_alone(spec):
    program, framed = built(spec)
    assert sum(p.numel() for p in program.parameters()) == SPECS[spec]
    torch.nn.init.normal_(program.weight, std=0.3)
    result = program(framed)
    assert torch.equal(result.window, framed.window)
    added = learned(program, framed).detach()
    assert float(added[..., WINDOW.rows, WINDOW.columns].abs().max()) == 0
    assert float(added.std()) == pytest.approx(0.3, rel=0.35), "steps mean the same as for frame"


@pytest.mark.parametrize("size", [5, 8, 30])
def test_the_cosine_transform_is_scipys(size):
    columns = np.random.default_rng(0).normal(size=(size, 3))
    found = cosine_basis(size).double().numpy() @ columns
    np.testing.assert_allclose(found, scipy.fft.dct(columns, norm="ortho", axis=0), atol=1e-6)


def test_cosine_waves_are_scipys_inverse():
    program, framed = built("cosine(side=4)")
    weight = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.1
    program.weight.data.copy_(weight)
    waves = np.zeros((3, 30, 24))
    waves[:, :4, :4] = weight[0].numpy() * np.sqrt(30 * 24) / 4
    expected = scipy.fft.idctn(waves, axes=(1, 2), norm="ortho")
    expected[:, WINDOW.rows, WINDOW.columns] = 0
    np.testing.assert_allclose(learned(program, framed)[0].detach().numpy(), expected, atol=1e-5)


def test_tiles_are_numpys_repetition():
    program, framed = built("tiles(side=6)", height=30, width=24)
    torch.nn.init.normal_(program.weight, std=0.2)
    expected = np.kron(program.weight[0].detach().numpy(), np.ones((1, 5, 4)))
    expected[:, WINDOW.rows, WINDOW.columns] = 0
    np.testing.assert_allclose(learned(program, framed)[0].detach().numpy(), expected, atol=1e-5)


def test_random_directions_are_orthonormal_up_to_the_mask():
    """Each number's image, without the mask: unit vectors times √(pixels / N), orthogonal to each other."""
    program, framed = built("random-basis(numbers=12, seed=3)")
    geometry = program.geometry
    signs = torch.sign(program.signs + (1 - geometry.mask()))  # As if the window had signs too.
    program.signs.copy_(signs * (3 * 30 * 24 / 12) ** 0.5)
    images = []
    for i in range(12):
        with torch.no_grad():
            program.weight.zero_()[i] = 0.01
        added = torch.atanh(2 * (program.run(framed).frame - 0.5)) / 0.01
        images.append(added.flatten().double())
    matrix = torch.stack(images)
    np.testing.assert_allclose((matrix @ matrix.T).detach().numpy(), np.eye(12) * 3 * 30 * 24 / 12, atol=1.0)


def test_the_seed_decides():
    one, other, again = (built(f"random-basis(numbers=12, seed={seed})")[0] for seed in (0, 1, 0))
    assert torch.equal(one.places, again.places) and torch.equal(one.signs, again.signs)
    assert not torch.equal(one.places, other.places)


@pytest.mark.parametrize(
    "spec, words",
    [
        ("tiles(side=0)", "side=0"),
        ("tiles(side=25)", "side=25"),
        ("cosine(side=25)", "side=25"),
        ("random-basis(numbers=2161)", "numbers=2161"),
        ("random-basis(numbers=0)", "numbers=0"),
    ],
)
def test_sizes_that_make_no_sense(spec, words):
    with pytest.raises(reprogram.ConfigError, match=words):
        built(spec)
