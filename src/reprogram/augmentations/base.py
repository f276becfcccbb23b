"""The contract of an augmentation: task images in, as many varied ones of the same shape out."""

from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from reprogram.registry import Component
from reprogram.tasks.base import Split


class Augmentation(Component):
    """Varies training images each time they are seen; validation and test see them as they are.

    An author writes `run`, which gets its chance from outside: numbers that depend on the seed, the epoch and the
    image alone, so that a continued run and any number of processes see the same.

    Attributes:
        numbers: that `run` needs for an image.

    Args:
        config: the variant's `Config`.
    """

    numbers: int = 0

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self, images: UInt8[Tensor, "b c h w"], chance: Float[Tensor, "b n"]) -> UInt8[Tensor, "b c h w"]:
        """Vary a batch.

        Args:
            images: as the task has them, on any device.
            chance: `numbers` for each image, uniform in [0, 1), on the same device.
        """
        raise NotImplementedError

    def batch(self, split: Split, chosen: Int[Tensor, " b"], chance: Float[Tensor, "count n"]) -> Split:
        """Some training images as an epoch sees them.

        Args:
            split: the training images.
            chosen: places in it.
            chance: what `draw` gave for the epoch.
        """
        batch = split.take(chosen)
        return Split(images=self.run(batch.images, chance[chosen]), labels=batch.labels)

    def draw(self, count: int, seed: int, epoch: int) -> Float[Tensor, "count n"]:
        """The chance of an epoch's images, in the order of the training split."""
        generator = torch.Generator().manual_seed(((seed * 1_000_003 + epoch) * 2 + 1) % 2**63)
        return torch.rand(count, self.numbers, generator=generator)
