"""Images turned and mirrored, to each of the eight symmetries of a square alike often."""

import torch
from torch import Tensor

from reprogram.augmentations.base import Augmentation


class Dihedral(Augmentation):
    """Shows each image as one of the eight that quarter turns and mirrors make of it, drawn uniformly.

    It is meant for images without an up and a left: squares to count, textures, what a microscope or a satellite sees.
    Of images that aren't square it makes the four that keep the shape. Where a task's splits are told apart by the
    arrangement alone, as those of `squares` are, a training image may become one of the test's.
    """

    numbers = 1

    def run(self, images: Tensor, chance: Tensor) -> Tensor:
        """Mirror left to right, mirror top to bottom and swap the axes, each for its own half of the images."""
        height, width = images.shape[2:]
        # b whole numbers below 8, or below 4; a bit stands for each of the three
        symmetry = (chance[:, 0] * (8 if height == width else 4)).long()[:, None, None, None]
        images = torch.where(symmetry & 1 != 0, images.flip(3), images)
        images = torch.where(symmetry & 2 != 0, images.flip(2), images)
        return torch.where(symmetry & 4 != 0, images.mT, images) if height == width else images
