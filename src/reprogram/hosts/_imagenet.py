"""The names of ImageNet's 1,000 classes, as torchvision carries them."""

import functools


@functools.cache
def class_names() -> tuple[str, ...]:
    """The 1,000 names in the usual order: "tench", "goldfish", ..."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
