"""A module in half precision: how its weights are rounded, and which operations stay in float32 on processors."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate
from torch.nn import functional as F

from reprogram.engine.correlation import Correlation
from reprogram.engine.linear import EngineLinear
from reprogram.engine.precision import HALF, is_half

FEW_TAPS = 64
"""Numbers up to which a filter is rounded so that its sum stays; depthwise filters have 9 or 25."""

NORMS = (nn.GroupNorm, nn.LocalResponseNorm)
"""Layers that stay in float32 on processors: in bfloat16 one takes 1.4 times as long, the other has no kernel."""

NORM_FUNCTIONS = (F.group_norm, F.local_response_norm)
"""The same as functions."""


def converted(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of a module that computes in another type.

    Args:
        module: a frozen module in evaluation mode, fused where it can be; it isn't changed.
        dtype: the type of its input and output.

    Raises:
        RuntimeError: the module holds complex numbers.
    """
    if any(tensor.is_complex() for tensor in (*module.parameters(), *module.buffers())):
        raise RuntimeError("it computes with complex numbers, of which a conversion leaves the real part")
    result = copy.deepcopy(module).to(dtype)
    weight = next(result.parameters(), None)
    if dtype not in HALF or weight is None:
        return result
    on_processor = weight.device.type == "cpu"
    last = _last_linear(result)
    for layer, source in zip(result.modules(), module.modules(), strict=True):
        if isinstance(source, Correlation):
            layer.weight = _fixed(round_filters(source.weight, dtype))
        if isinstance(source, Correlation | EngineLinear) and source.bias is not None and on_processor:
            layer.bias = _fixed(source.bias.float())  # oneDNN adds it before it rounds.
        if layer is last:
            layer.float()  # Rounded scores would make ties between labels.
        if isinstance(layer, NORMS) and on_processor:
            layer.float()
            layer.forward = _in_float32(layer.forward)  # type: ignore[method-assign]
    if isinstance(result, fx.GraphModule) and on_processor:
        for node in result.graph.nodes:
            if node.target in NORM_FUNCTIONS:
                node.target = _in_float32(node.target)
            elif node.target is F.scaled_dot_product_attention:
                node.target = _attention
        result.recompile()
    return result


def _last_linear(module: nn.Module) -> nn.Module | None:
    """The linear layer whose output is a traced host's output; None where another operation gives that."""
    if not isinstance(module, fx.GraphModule):
        return None
    last = next(node for node in module.graph.nodes if node.op == "output").args[0]
    if not isinstance(last, fx.Node) or last.op != "call_module":
        return None
    layer = module.get_submodule(str(last.target))
    return layer if isinstance(layer, EngineLinear) else None


def _fixed(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach(), requires_grad=False)


def round_filters(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Filters in half precision. Those of few taps keep their sum.

    Neighbouring pixels are nearly equal, so that a depthwise filter makes little else of them than its sum times their
    value. Rounding each of its taps by itself changes that sum; here each takes up what the larger ones before it left.

    Args:
        weight: o × c × kh × kw.
        dtype: the type to round to.

    Returns:
        Filters of the same shape and memory layout.
    """
    rounded = weight.to(dtype)
    taps = weight[0].numel()
    if taps > FEW_TAPS:
        return rounded
    exact = weight.flatten(1).double()  # o × taps
    carried = torch.zeros_like(exact[:, :1])
    for column in torch.split(exact.abs().argsort(1, descending=True), 1, 1):
        wanted = exact.gather(1, column) + carried
        found = wanted.to(dtype).double()
        carried = wanted - found
        exact.scatter_(1, column, found)
    return rounded.copy_(exact.view(weight.shape))


def _in_float32(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A function of maps that is computed in float32, whatever the type of its arguments."""

    def inside(maps: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        args, kwargs = map_aggregate((args, kwargs), _single)
        return function(maps.float(), *args, **kwargs).to(maps.dtype)

    return inside


def _attention(query: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Attention, in float32 where a gradient is wanted: in bfloat16 that takes 1.4 times as long on processors."""
    if not (query.requires_grad and torch.is_grad_enabled()):
        return F.scaled_dot_product_attention(query, *args, **kwargs)
    return _in_float32(F.scaled_dot_product_attention)(query, *args, **kwargs)


def _single(value: Any) -> Any:
    """A tensor of half precision in float32; any other value as it is."""
    return value.float() if isinstance(value, Tensor) and is_half(value) else value
