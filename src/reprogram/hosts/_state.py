"""What a module's `state_dict` holds: numbers of every kind and layout, and whatever else a layer stores there."""

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from reprogram.errors import ConfigError, HostUnavailableError
from reprogram.hosts._info import HostInfo

EXTRA_STATE = "_extra_state"
"""The last part of the names under which modules store what `get_extra_state` gives: anything."""


def check_shapes(net: nn.Module, name: str) -> None:
    """Refuse layers that haven't got their shapes yet.

    Args:
        net: a module.
        name: the host's, for errors.

    Raises:
        ConfigError: a parameter or buffer is uninitialised.
    """
    tensors = (*net.named_parameters(), *net.named_buffers())
    lazy = [key for key, tensor in tensors if is_lazy(tensor)]
    if lazy:
        raise ConfigError(f"host {name}: weight {lazy[0]!r} has no shape yet; call the module with an image once")


def check_numbers(net: nn.Module, name: str) -> None:
    """Refuse weights that are shapes alone.

    Args:
        net: a module.
        name: the host's, for errors.

    Raises:
        ConfigError: a parameter or buffer is on the device "meta".
    """
    for key, tensor in (*net.named_parameters(), *net.named_buffers()):
        if tensor.is_meta:
            raise ConfigError(f"host {name}: weight {key!r} is on the device 'meta', without numbers; load it first")


def check_finite(net: nn.Module, name: str) -> None:
    """Refuse weights that aren't finite everywhere.

    Args:
        net: the host's module.
        name: the host's, for errors.

    Raises:
        HostUnavailableError: a parameter or buffer holds NaN or infinity.
    """
    for key, entry in net.state_dict().items():
        for tensor in _tensors(entry):
            if not tensor.is_meta and not torch.isfinite(_plain(tensor)).all():
                raise HostUnavailableError(f"host {name}: weight {key!r} isn't finite everywhere; get the weights anew")


def is_plain(net: nn.Module) -> bool:
    """Whether a module's weights are dense tensors of ordinary numbers, such as a trace and its rules expect.

    Args:
        net: the host's module.
    """
    return all(
        isinstance(entry, Tensor) and _is_plain(entry)
        for key, entry in net.state_dict().items()
        if key.rpartition(".")[2] != EXTRA_STATE
    )


def fingerprint(net: nn.Module, info: HostInfo) -> str:
    """SHA-256 of weights and preprocessing; of the name and shapes alone where there are no weights to see.

    Args:
        net: the host's module.
        info: the host's record.
    """
    digest = hashlib.sha256(repr((info.shape, info.mean, info.std, info.num_classes)).encode())
    state = net.state_dict()
    if not state:
        return f"unverified:{info.id}:{digest.hexdigest()[:16]}"
    for name in sorted(state):
        for part in _parts(state[name]):
            digest.update(name.encode())
            digest.update(_content(part) if isinstance(part, Tensor) else part.encode())
    return digest.hexdigest()


def _content(tensor: Tensor) -> bytes:
    """A tensor's type, shape and numbers."""
    values = _plain(tensor.detach().cpu()).contiguous()
    values = values.float() if values.is_floating_point() else values  # model.double() is the same host.
    numbers = values.view(-1).view(torch.uint8).numpy().tobytes() if values.numel() else b""
    return f"{values.dtype}{tuple(values.shape)}".encode() + numbers


def _is_plain(tensor: Tensor) -> bool:
    few_bits = tensor.is_floating_point() and tensor.element_size() == 1
    odd = tensor.is_quantized or tensor.is_nested or tensor.is_complex() or few_bits
    return tensor.layout == torch.strided and not odd


def _plain(tensor: Tensor) -> Tensor:
    """A tensor's numbers as a dense tensor of real ones."""
    if tensor.is_nested:
        return torch.cat([_plain(part).flatten() for part in tensor.unbind()])
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_complex():
        return torch.view_as_real(tensor.resolve_conj())
    if tensor.is_floating_point() and tensor.element_size() == 1:  # The types of 8 bits and less know few operations.
        few_bits = tensor.dtype == torch.float4_e2m1fn_x2
        return tensor.view(torch.uint8) if few_bits else tensor.float()
    return tensor


def _tensors(entry: Any) -> Iterator[Tensor]:
    return (part for part in _parts(entry) if isinstance(part, Tensor))


def _parts(entry: Any) -> Iterator[Tensor | str]:
    """The tensors of an entry, and the rest of it as text that is the same in every process."""
    if isinstance(entry, Tensor):
        yield entry
    elif isinstance(entry, dict):
        for key in sorted(entry, key=repr):
            yield str(key)
            yield from _parts(entry[key])
    elif isinstance(entry, list | tuple):
        for item in entry:
            yield from _parts(item)
    elif isinstance(entry, str | bytes | int | float | complex | None | torch.dtype):
        yield repr(entry)
    else:
        yield type(entry).__name__
