"""Results that were derived from tensors, and whether the tensors have changed since: a quick check at every call."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Where a module keeps what is called beside its `forward`; it may change maps, or read one that folding takes away."""


class ModuleVersion:
    """The state of a module at one moment, to be compared with a later one.

    It notices other modules, hooks or tensors, tensors with new memory, and writes that tensors count. PyTorch doesn't
    count writes such as `tensor.data.mul_(2)`, so these aren't noticed.

    Args:
        net: the module.
    """

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        parts = ("_parameters", "_buffers", "_modules", *HOOKS)
        self._holders = [getattr(module, part, {}) for module in net.modules() for part in parts]
        self._values = self._current_values()  # References, so that no other object gets the same address.
        self._tensors = [t for t in self._values if isinstance(t, Tensor)]
        self._versioned = [t for t in self._tensors if not t.is_inference()]  # The tensors that count their writes.
        self._versions = self._current_versions()

    def fits(self, net: nn.Module) -> bool:
        """Whether nothing has changed since.

        Args:
            net: the module; another one than at that moment doesn't fit.
        """
        values = self._current_values()
        same = net is self.net and len(values) == len(self._values) and all(map(operator.is_, values, self._values))
        return same and self._current_versions() == self._versions

    def _current_values(self) -> list[Any]:
        return [value for holder in self._holders for value in holder.values()]

    def _current_versions(self) -> tuple[list[Any], list[int]]:
        return [(_address(t), t.dtype) for t in self._tensors], [t._version for t in self._versioned]


def _address(tensor: Tensor) -> int:
    """Where a tensor's numbers lie; a sparse one has no such place."""
    return tensor.data_ptr() if tensor.layout == torch.strided else id(tensor)


class TensorCache:
    """Keeps one tensor that was computed from others without gradients, while those stay the same.

    Parameters are compared number for number. Other tensors have to be the same objects, without a write that they
    count. A copy of the cache is empty.
    """

    def __init__(self) -> None:
        self._entry: tuple[Tensor, list[Tensor], list[Tensor], list[int]] | None = None

    def __reduce__(self) -> Any:
        return TensorCache, ()

    def get(self, make: Callable[[], Tensor], *others: Tensor, parameters: Sequence[Tensor] = ()) -> Tensor:
        """The result of `make`, computed anew where a tensor that it reads has changed.

        Args:
            make: computes the result.
            others: tensors that `make` reads; their writes are counted.
            parameters: tensors that `make` reads; their numbers are compared.
        """
        if any(t.is_inference() for t in (*others, *parameters)):
            return make()
        if self._entry is not None:
            result, before, copies, versions = self._entry
            watched = [result, *others]
            if (
                len(before) == len(watched)
                and all(map(operator.is_, before, watched))
                and [t._version for t in watched] == versions
                and len(copies) == len(parameters)
                and all(map(same, copies, parameters))
            ):
                return result
        with torch.inference_mode(False), torch.no_grad():
            result = make()
            copies = [p.clone() for p in parameters]
        watched = [result, *others]
        self._entry = result, watched, copies, [t._version for t in watched]
        return result

    def drop(self) -> None:
        """Forget the result."""
        self._entry = None


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal, number for number, with one dtype and on one device.

    Args:
        a: a tensor.
        b: the tensor that it is compared with.
    """
    return a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
