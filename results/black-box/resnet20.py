"""The CIFAR ResNet-20 as a host of one's own: `python:results/black-box/resnet20.py:host`.

The weights are akamaster/pytorch_resnet_cifar10's (BSD-2-Clause), as `cifar10_resnet20.safetensors` in the folder that
the environment variable HOSTS names, ../shared/hosts otherwise.
"""

import os
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

import reprogram

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Block(nn.Module):
    """Two convolutions and a shortcut without parameters (He et al., 2016, option A)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.pad = stride, (after - before) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn b × before × h × w into b × after × h / stride × w / stride."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + shortcut)


class ResNet20(nn.Module):
    """The CIFAR ResNet of 6n + 2 layers, n = 3."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Turn b × 3 × 32 × 32 normalised pixels into b × 10 logits."""
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def _host() -> reprogram.Host:
    folder = Path(os.environ.get("HOSTS", "../shared/hosts"))
    net = ResNet20()
    weights = load_file(folder / "cifar10_resnet20.safetensors")
    net.load_state_dict({name: value.float() for name, value in weights.items()}, strict=False)
    return reprogram.Host.wrap(
        net,
        size=32,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        class_names=CLASSES,
        name="cifar10-resnet20",
        licence="BSD-2-Clause",
    )


host = _host()
