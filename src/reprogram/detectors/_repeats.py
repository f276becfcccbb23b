"""How often the pieces of an image were seen in an account's earlier queries."""

import zlib

import numpy as np

from reprogram.detectors.base import Array

RETRIES = 8
"""The last queries of an account among which a query that is sent again, byte for byte, is known."""

LEAST_PIECES = 8
"""An image of fewer different pieces, such as a blank page, says nothing."""


def is_retry(ring: Array, image: Array) -> bool:
    """Whether the same image is one of the account's last; else it is noted.

    Args:
        ring: `RETRIES` digests, uint32, the latest first; changed in place.
        image: C × H × W, uint8.
    """
    digest = zlib.crc32(np.ascontiguousarray(image).data) or 1
    if (ring == digest).any():
        return True
    ring[1:] = ring[:-1].copy()
    ring[0] = digest
    return False


def repeated(counts: Array, share: float) -> float:
    """The largest m such that a share of the pieces was seen in at least m earlier queries.

    Args:
        counts: n, how many earlier queries held each piece of the image.
        share: of the pieces, above 0 and at most 1.

    Returns:
        m; 0 where there are fewer than `LEAST_PIECES` pieces.
    """
    if len(counts) < LEAST_PIECES:
        return 0.0
    # The ⌈share · n⌉-th largest count.
    rank = int(np.ceil(share * len(counts) - 1e-9))
    return float(np.partition(counts, -rank)[-rank])
