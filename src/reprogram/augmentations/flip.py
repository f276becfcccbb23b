"""Half of the images mirrored, left to right."""

import torch
from torch import Tensor

from reprogram.augmentations.base import Augmentation


class Flip(Augmentation):
    """For photographs; digits and letters mean something else in a mirror."""

    numbers = 1

    def run(self, images: Tensor, chance: Tensor) -> Tensor:
        """Mirror those whose number is below one half."""
        return torch.where(chance[:, 0, None, None, None] < 0.5, images.flip(3), images)
