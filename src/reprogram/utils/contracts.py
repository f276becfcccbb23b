"""Where a component breaks its contract: whether it wrote into what it was given, and the line that says so."""

import sys

import torch
from torch import Tensor

from reprogram.errors import ConfigError


def breach(component: object, what: str) -> ConfigError:
    """The error for a component that doesn't do what its family promises.

    Args:
        component: the component.
        what: follows the name of its class, such as "changes the scores in place; make a new tensor".
    """
    variant = type(component)
    where = getattr(sys.modules.get(variant.__module__), "__file__", None) or variant.__module__
    return ConfigError(f"{where}: {variant.__name__} {what}; mend this file, or report it if it came with reprogram")


class Writes:
    """Whether tensors were written into since: true as soon as one was.

    PyTorch counts writes into a tensor and its views, but not those through `tensor.data` or NumPy, and none into
    tensors of the inference mode. While a graph is captured nothing is noticed.

    Args:
        tensors: the tensors.
    """

    def __init__(self, *tensors: Tensor) -> None:
        captured = torch.compiler.is_compiling()
        self._before = [] if captured else [(t, t._version) for t in tensors if not t.is_inference()]

    def __bool__(self) -> bool:
        return any(tensor._version != version for tensor, version in self._before)
