"""The same matrix product by PyTorch's BLAS and by the engine's oneDNN: `python benchmarks/products.py`.

One thread, float32, arms interleaved; prints a line for each shape: rows × inner by inner × columns.
"""

import platform
from functools import partial

import torch
from measure import interleaved
from torch import nn

from reprogram.engine.linear import EngineLinear
from reprogram.utils.environment import processor

SHAPES = ((784, 1024, 256), (3136, 1024, 256), (3136, 384, 1536), (12544, 96, 384), (16, 1280, 1000), (1, 1280, 1000))


@torch.no_grad()
def main() -> None:
    """Measure every shape."""
    torch.set_num_threads(1)
    print(f"{processor()}, {platform.system()}, torch {torch.__version__}, medians in milliseconds")
    for rows, inner, columns in SHAPES:
        generator = torch.Generator().manual_seed(0)
        layer, images = nn.Linear(inner, columns), torch.randn(rows, inner, generator=generator)
        arms = {"blas": partial(layer, images), "onednn": partial(EngineLinear(layer), images)}
        found = {name: arm["median_s"] * 1000 for name, arm in interleaved(arms, seconds=2, least=20).items()}
        ratio = found["blas"] / found["onednn"]
        times = ", ".join(f"{name} {time:.2f}" for name, time in found.items())
        print(f"{rows} x {inner} x {columns}: {times}, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
