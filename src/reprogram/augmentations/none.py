"""Training images as they are."""

from torch import Tensor

from reprogram.augmentations.base import Augmentation


class NoAugmentation(Augmentation):
    """No variation: every epoch sees the same images."""

    def run(self, images: Tensor, chance: Tensor) -> Tensor:
        """Return the images unchanged."""
        return images
