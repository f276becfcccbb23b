"""Training images as they are."""

from torch import Tensor

from reprogram.augmentations.base import Augmentation


class NoAugmentation(Augmentation):
    """Every epoch sees the same images."""

    def run(self, images: Tensor, chance: Tensor) -> Tensor:
        """Hand on the images."""
        return images
