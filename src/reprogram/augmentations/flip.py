"""Half of the images mirrored, left to right."""

import torch
from torch import Tensor

from reprogram.augmentations.base import Augmentation


class Flip(Augmentation):
    """Mirrors half of the images. It is meant for photographs: a mirrored digit or letter is another sign."""

    numbers = 1

    def run(self, images: Tensor, chance: Tensor) -> Tensor:
        """Mirror the images whose random number is below one half."""
        return torch.where(chance[:, 0, None, None, None] < 0.5, images.flip(3), images)
