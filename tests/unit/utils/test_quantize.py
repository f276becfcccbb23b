"""Levels of 8 bits against whole numbers."""

import torch

from reprogram.utils.quantize import eps_bounds, floor_to_8bit


def test_levels_against_whole_numbers():
    """For every pixel of 256 and every bound of k levels: exactly k levels up and down."""
    base = torch.arange(256) / 255
    for k in range(1, 256):
        low, high = eps_bounds(base, k / 255, whole=True)
        assert torch.equal((low * 255).round().long(), torch.arange(256) - k)
        assert torch.equal((high * 255).round().long(), torch.arange(256) + k)
        assert round(255 * floor_to_8bit(k / 255)) == k
        assert round(255 * floor_to_8bit((k + 0.99) / 255)) == k
