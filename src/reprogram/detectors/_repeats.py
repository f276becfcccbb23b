"""How often the pieces of an image were seen in an account's earlier queries."""

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np

from reprogram.detectors.base import Array

RETRIES = 8
"""The last queries of an account among which a query that is sent again, byte for byte, is known."""

KEY_BYTES = 16
"""Of an account's secret, without which nobody makes two images of one digest."""

RETRY_FIELDS: dict[str, tuple[tuple[int, ...], Any]] = {
    "digests": ((RETRIES,), np.uint64),
    "key": ((KEY_BYTES,), np.uint8),
}
"""What is kept of an account to know retries: the digests of its last queries, the latest first, and its secret."""

LEAST_PIECES = 8
"""An image of fewer different pieces, such as a blank page, says nothing."""


def is_retry(row: Mapping[str, Array], image: Array) -> bool:
    """Whether the same image is one of the account's last `RETRIES` different ones; else it is noted.

    Digests are keyed: whoever could make images of one digest would send all of them as retries.

    Args:
        row: the account's `RETRY_FIELDS`; changed in place.
        image: C × H × W, uint8.
    """
    ring, key = row["digests"], row["key"]
    if not key.any():
        key[:] = np.frombuffer(secrets.token_bytes(KEY_BYTES), np.uint8)
    hashed = hashlib.blake2b(str(image.shape).encode(), digest_size=8, key=key.tobytes())
    hashed.update(np.ascontiguousarray(image).data)
    digest = np.frombuffer(hashed.digest(), np.uint64)[0] | np.uint64(1)
    if (ring == digest).any():
        return True
    ring[1:] = ring[:-1].copy()
    ring[0] = digest
    return False


def read_retries(state: Mapping[str, Array], accounts: int) -> dict[str, Array]:
    """A state whose retries can be read: those of the first version of the file had no secret, and are forgotten.

    Args:
        state: arrays by name.
        accounts: how many accounts they are of.
    """
    if state.get("digests", np.empty(0)).dtype != np.uint32 or "key" in state:
        return dict(state)
    return {**state, **{name: np.zeros((accounts, *shape), dtype) for name, (shape, dtype) in RETRY_FIELDS.items()}}


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
