"""Layers and functions of timm and torchvision that the engine knows, looked up without importing these libraries.

Importing them takes seconds, and a host that holds one of their layers has imported its library already.
"""

import sys
from typing import Any


def loaded(library: str, *names: str) -> tuple[Any, ...]:
    """Classes and functions of a library by name.

    Args:
        library: the full name of a module.
        names: the names of classes and functions in it.

    Returns:
        Those that exist; none where the library isn't imported.
    """
    module = sys.modules.get(library)
    return tuple(getattr(module, name) for name in names if hasattr(module, name))


def standardised() -> tuple[Any, ...]:
    """The classes of convolutions that standardise their weight."""
    return loaded("timm.layers", "StdConv2d", "StdConv2dSame", "ScaledStdConv2d", "ScaledStdConv2dSame")


def same_padded() -> tuple[Any, ...]:
    """The classes of convolutions with TensorFlow's SAME padding."""
    return loaded("timm.layers", "Conv2dSame")


def normalised_and_activated() -> tuple[Any, ...]:
    """The classes of normalisations that apply an activation too."""
    return loaded("timm.layers", "BatchNormAct2d")


def opaque() -> tuple[Any, ...]:
    """The functions that can't be traced through, so that they stay one operation."""
    return loaded("torchvision.models.shufflenetv2", "channel_shuffle")
