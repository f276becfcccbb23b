"""Small good files that attacks start from."""

from pathlib import Path

import torch
from PIL import Image
from torch import nn

import reprogram


def good_program(folder: Path) -> Path:
    """A program file that is little more than its header."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.arange(72.0).view(24, 3).sin())

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels.flatten(1)[:, :24] @ self.weight

    images = torch.arange(128, dtype=torch.uint8).view(8, 1, 4, 4)
    split = reprogram.Split(images=images, labels=torch.arange(8) % 2)
    task = reprogram.Task(name="sample", train=split, validation=split, test=split, class_names=("class 0", "class 1"))
    host = reprogram.Host.wrap(Net(), size=6, channels=1, name="net")
    return reprogram.Reprogrammed.build(host, task).save(folder / "good.safetensors")


def good_image(folder: Path) -> Path:
    """A small PNG file."""
    path = folder / "good.png"
    Image.linear_gradient("L").resize((16, 16)).convert("RGB").save(path)
    return path
