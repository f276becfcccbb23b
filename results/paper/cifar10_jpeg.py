"""Unpack the complete CIFAR-10 that lies at hand as JPEG files: `python cifar10_jpeg.py PACKED.npz UNPACKED.npz`.

The images lost some detail to JPEG (about 30.5 dB); accuracies on them aren't those on the original files.
"""

import io
import itertools
import sys
from pathlib import Path

import numpy as np
from PIL import Image


def unpacked(packed: "np.lib.npyio.NpzFile", part: str) -> "np.ndarray":
    """All images of a split: n × 32 × 32 × 3, uint8."""
    raw, offsets = packed[f"{part}_jpeg"], packed[f"{part}_offsets"]
    files = (raw[a:b].tobytes() for a, b in itertools.pairwise(offsets))
    return np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files])


if __name__ == "__main__":
    source, target = sys.argv[1:]
    with np.load(source) as packed:
        images = {f"x_{part}": unpacked(packed, part) for part in ("train", "test")}
        labels = {f"y_{part}": packed[f"{part}_labels"] for part in ("train", "test")}
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    np.savez(target, **images, **labels)
