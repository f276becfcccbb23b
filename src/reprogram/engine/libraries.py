"""What the engine knows of timm and torchvision, without importing them: that takes seconds.

A host that holds one of their layers has imported its library.
"""

import sys
from typing import Any


def loaded(library: str, *names: str) -> tuple[Any, ...]:
    """What a library calls so.

    Args:
        library: a module's full name.
        names: of classes and functions in it.

    Returns:
        Those that there are; none where the library isn't imported.
    """
    module = sys.modules.get(library)
    return tuple(getattr(module, name) for name in names if hasattr(module, name))


def standardised() -> tuple[Any, ...]:
    """Convolutions that standardise their weight."""
    return loaded("timm.layers", "StdConv2d", "StdConv2dSame", "ScaledStdConv2d", "ScaledStdConv2dSame")


def same_padded() -> tuple[Any, ...]:
    """Convolutions with TensorFlow's SAME padding."""
    return loaded("timm.layers", "Conv2dSame")


def normalised_and_activated() -> tuple[Any, ...]:
    """Normalisations that have an activation behind them."""
    return loaded("timm.layers", "BatchNormAct2d")


def opaque() -> tuple[Any, ...]:
    """Functions that can't be traced through."""
    return loaded("torchvision.models.shufflenetv2", "channel_shuffle")
