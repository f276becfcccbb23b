"""Distances between pictures, and the best shift of scores, against independent oracles."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from reprogram.paper.experiments import transfer
from reprogram.paper.image_metrics import psnr, ssim
from reprogram.paper.logit_shift import best_shift


def pictures(seed=0, shape=(3, 3, 40, 48)):
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(shape, generator=generator)
    return a, (a + 0.1 * torch.randn(shape, generator=generator)).clamp(0, 1)


def test_ssim_and_psnr_agree_with_torchmetrics():
    a, b = (x.double() for x in pictures())
    for i in range(len(a)):
        one, other = a[i : i + 1], b[i : i + 1]
        theirs = structural_similarity_index_measure(one, other, data_range=1.0, sigma=1.5)
        assert ssim(one, other).item() == pytest.approx(float(theirs), abs=5e-3)  # Theirs pads, and cuts the rim off.
        assert psnr(one, other).item() == pytest.approx(float(peak_signal_noise_ratio(one, other, data_range=1.0)))
    assert ssim(a, a).tolist() == pytest.approx([1, 1, 1]) and math.isinf(psnr(a, a)[0])


def test_ssim_of_flat_pictures_has_a_closed_form():
    a, b = torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.6)
    expected = (2 * 0.2 * 0.6 + 0.01**2) / (0.2**2 + 0.6**2 + 0.01**2)
    assert ssim(a.double(), b.double()).item() == pytest.approx(expected, rel=1e-6)


def test_the_best_shift_is_found_where_there_is_one_number_to_find():
    scores = torch.tensor([[0.0, 1.0], [0.0, 3.0], [0.0, 2.0], [0.0, 5.0], [0.0, 0.5]]).double()
    labels = torch.tensor([0, 1, 0, 1, 0])  # Class 1 is right from 3 on: a shift by a number in (-3, -2).
    shift = best_shift(scores, labels)
    assert ((scores + shift).argmax(dim=1) == labels).all()
    assert -3 < float(shift[1] - shift[0]) < -2


def test_the_best_shift_beats_random_ones():
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 4, (600,), generator=generator)
    scores = torch.randn(600, 4, generator=generator).double() + torch.tensor([0.0, 2.0, -1.0, 4.0])
    scores[torch.arange(600), labels] += 1

    def right(shift):
        return int(((scores + shift).argmax(dim=1) == labels).sum())

    found = right(best_shift(scores, labels))
    others = [right(4 * torch.randn(4, generator=generator)) for _ in range(2000)]
    assert found >= max(others) > right(torch.zeros(4))


def test_the_ways_of_pictures_change_what_they_say():
    a, _ = pictures(shape=(2, 3, 24, 32))
    np.testing.assert_allclose(transfer._round(a).numpy(), np.round(a.numpy() * 255) / 255, atol=1e-7)
    errors = [float((transfer._jpeg(a, q) - a).abs().mean()) for q in transfer.QUALITIES]
    assert 0 < errors[0] < errors[1] < errors[2] and transfer._jpeg(a, 95).shape == a.shape
    flat = torch.full((1, 3, 24, 32), 0.5)
    torch.testing.assert_close(transfer._resized(flat), flat)
    assert transfer._resized(a).shape == a.shape and not torch.equal(transfer._resized(a), a)
