"""The contract of an augmentation: it turns task images into as many varied ones of the same shape."""

from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from reprogram.registry import Component
from reprogram.tasks._split import Split


class Augmentation(Component):
    """Varies training images in each epoch; validation and test images stay as they are.

    An author writes `run`, which gets its random numbers as an argument. They depend on the seed, the epoch and the
    image alone, so that a continued run and any number of processes see the same images.

    Attributes:
        numbers: how many random numbers `run` needs for an image.

    Args:
        config: the variant's `Config`.
    """

    numbers: int = 0

    def __init__(self, config: Any) -> None:
        self.config = config

    def run(self, images: UInt8[Tensor, "b c h w"], chance: Float[Tensor, "b n"]) -> UInt8[Tensor, "b c h w"]:
        """Vary a batch.

        Args:
            images: b × c × h × w of the task, uint8, on any device.
            chance: b × `numbers` random numbers, uniform in [0, 1), on the same device.

        Returns:
            b × c × h × w, uint8.
        """
        raise NotImplementedError

    def batch(self, split: Split, chosen: Int[Tensor, " b"], chance: Float[Tensor, "count n"]) -> Split:
        """A batch of training images as an epoch sees them.

        Args:
            split: the training images.
            chosen: indices of the batch's images in `split`.
            chance: the result of `draw` for the epoch.

        Returns:
            The varied images and their labels.
        """
        batch = split.take(chosen)
        return Split(images=self.run(batch.images, chance[chosen]), labels=batch.labels)

    def draw(self, count: int, seed: int, epoch: int) -> Float[Tensor, "count n"]:
        """The random numbers of an epoch, in the order of the training split.

        Args:
            count: the number of training images.
            seed: the run's seed.
            epoch: counted from 0.

        Returns:
            count × `numbers`, uniform in [0, 1).
        """
        generator = torch.Generator().manual_seed(((seed * 1_000_003 + epoch) * 2 + 1) % 2**63)
        return torch.rand(count, self.numbers, generator=generator)
