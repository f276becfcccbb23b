"""Hashes of short runs of pixels, wherever they stand in an image, and the smallest of them as its fingerprint."""

import numpy as np

from reprogram.detectors.base import Array

FIRST, MORE = 2**22, 16
"""Of 2^32 hashes the ones below FIRST are looked at first; where these are too few, MORE times as many, and so on."""


def run_hashes(levels: Array, length: int, factor: int) -> Array:
    """A hash of each run of `length` pixels in a row of an image: Σ f^(length - 1 - i) · x_i modulo 2^32, then mixed.

    Args:
        levels: H × W, uint32; a row isn't shorter than a run.
        length: a power of two.
        factor: f, an odd number.

    Returns:
        H × (W - length + 1), uint32.
    """
    hashes, power, width = levels, factor, 1
    while width < length:  # Of runs of `width`, those of 2 · width: h(x) · f^width + h(x + width).
        hashes = hashes[:, :-width] * np.uint32(power) + hashes[:, width:]
        power, width = power * power % 2**32, 2 * width
    # The finaliser of MurmurHash3, without which near runs had near hashes.
    hashes = (hashes ^ (hashes >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    hashes = (hashes ^ (hashes >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    mixed: Array = hashes ^ (hashes >> np.uint32(16))
    return mixed


def smallest(hashes: Array, count: int) -> Array:
    """The smallest different hashes, sorted: a sample of an image's different runs that is the same wherever they are.

    Args:
        hashes: of any shape, uint32.
        count: how many at the most.

    Returns:
        At most `count` numbers; fewer where there are no more different ones.

    Reference: Broder, On the resemblance and containment of documents, 1997.
    """
    below = FIRST
    while below < 2**32:
        some = np.unique(hashes[hashes < np.uint32(below)])
        if len(some) >= count:
            return some[:count]
        below *= MORE
    return np.unique(hashes)[:count]
