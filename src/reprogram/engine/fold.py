"""From a host's module to what the engine runs: traced, normalisation and clipping folded into what comes before them.

All of it leaves the scores equal up to rounding.
"""

import collections
import operator
import threading
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate
from torch.nn import functional as F

from reprogram.engine.aliasing import in_place, is_view, writes_into_part, written_by
from reprogram.engine.clip import SUM_FUNCTIONS, Bounds, ClippedSum, clipped_to, keep_output
from reprogram.engine.convolution import Convolution, pair
from reprogram.engine.libraries import normalised_and_activated, opaque, same_padded, standardised
from reprogram.engine.product import Product


class InPlaceProxy(fx.Proxy):
    """A proxy that knows `+=` from `+`: torch.fx's own takes one for the other."""

    def __iadd__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.iadd, (self, other), {})

    def __isub__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.isub, (self, other), {})

    def __imul__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.imul, (self, other), {})

    def __itruediv__(self, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operator.itruediv, (self, other), {})


class HostTracer(fx.Tracer):
    """Traces a host down to PyTorch's layers and timm's own convolution and normalisation layers.

    A module that can't be traced, because it looks at sizes or values to decide what to do, stays whole.
    """

    def __init__(self) -> None:
        super().__init__(autowrap_functions=opaque())
        self.thread = threading.get_ident()

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """The proxy of a node."""
        return InPlaceProxy(node, self)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """An attribute of a module; torch.fx patches all modules, those that another thread is running too."""
        if threading.get_ident() != self.thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Layers stay whole; containers are traced through."""
        return _convolves(m) or _normalises(m) or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Trace through a module, or take it whole."""
        if threading.get_ident() != self.thread:
            return forward(*args, **kwargs)
        before = len(self.graph.nodes)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:  # torch.fx raises whatever the traced code raises.
            for node in list(self.graph.nodes)[: before - 1 : -1]:
                if node.op != "get_attr":  # These may be handed out again.
                    self.graph.erase_node(node)
            return self.create_proxy("call_module", self.path_of_module(m), args, kwargs)


class Whole(nn.Module):
    """A module that couldn't be traced: it gets its input in the memory layout that it was written for.

    Args:
        module: as it is.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        args, kwargs = map_aggregate((args, kwargs), lambda a: a.contiguous() if isinstance(a, Tensor) else a)
        return self.module(*args, **kwargs)


def fold(net: nn.Module) -> nn.Module:
    """Return a module that computes the same scores faster, or `net` itself where that isn't possible.

    Args:
        net: a frozen module in evaluation mode; it isn't changed, and all but the convolutions is shared with it.
    """
    if any(m._forward_hooks or m._forward_pre_hooks for m in net.modules()):
        return net  # A hook may look at, or change, what folding takes away.
    if not any(map(_convolves, net.modules())):
        return net
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            before = torch.get_rng_state()
            tracer = HostTracer()
            traced = fx.GraphModule(net, tracer.trace(net))
            if not torch.equal(before, torch.get_rng_state()):
                return net  # It draws random numbers, which a trace would freeze.
    except Exception:  # torch.fx raises whatever the traced code raises; such a host runs as it is.
        return net
    if writes_into_part(traced) or not _plain(traced.graph):
        return net
    _lower(traced, tracer)
    return traced.eval()


def _lower(traced: fx.GraphModule, tracer: HostTracer) -> None:
    """Replace what the graph calls by the engine's own forms; what those modules hold stays the host's."""
    called = {str(node.target) for node in traced.graph.nodes if node.op == "call_module"}
    for name in sorted(called):
        if not tracer.is_leaf_module(traced.get_submodule(name), name):
            _replace(traced, name, Whole(traced.get_submodule(name)))
            for node in traced.graph.nodes:
                if node.op == "get_attr" and str(node.target).startswith(f"{name}."):
                    node.target = f"{name}.module.{str(node.target).removeprefix(f'{name}.')}"
    norms = _foldable(traced)
    for name in sorted(called):
        layer = traced.get_submodule(name)
        if _zero_padded(layer):
            norm = norms.get(name)
            _replace(traced, name, _frozen(layer, traced.get_submodule(norm) if norm else None))
    for norm in norms.values():
        _replace(traced, norm, _after(traced.get_submodule(norm)))
    for name in sorted(called):
        layer = traced.get_submodule(name)
        if type(layer) is nn.Linear:
            _replace(traced, name, Product(layer))
    _fold_clips(traced)
    layers = dict(traced.named_modules())
    written = {
        str(node.target)
        for node in traced.graph.nodes
        if node.op == "call_module" and (_is_written_into(node, layers) or _shares_input(node))
    }
    for node in traced.graph.nodes:
        if node.op == "call_module" and node.target not in written:
            _replace(traced, str(node.target), keep_output(traced.get_submodule(str(node.target))))
    traced.recompile()


def _shares_input(node: fx.Node) -> bool:
    """Whether others read an operation's input too, and may write into what it makes of it in place."""
    return any(len(source.users) > 1 for source in node.all_input_nodes)


def _is_written_into(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    """Whether an operation writes into this one's result, which then can't be kept for the backward pass."""
    return any(
        written_by(user, layers) is node
        or ((is_view(user) or clipped_to(user, layers) == Bounds()) and _is_written_into(user, layers))
        for user in node.users
    )


def _fold_clips(traced: fx.GraphModule) -> None:
    """Let convolutions and sums do the ReLU, ReLU6 or Hardtanh that alone reads them."""
    layers = dict(traced.named_modules())
    uses = collections.Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    for node in list(traced.graph.nodes):
        layer = layers.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(layer, Convolution) and uses[node.target] == 1:
            layer.bounds = _absorbed(traced, node, layers)
    for node in list(traced.graph.nodes):
        if node.target in SUM_FUNCTIONS and _is_plain_sum(node, layers):
            bounds = _absorbed(traced, node, layers)
            if bounds.clip:
                _replace_sum(traced, node, bounds, layers)
    layers = dict(traced.named_modules())
    for node in traced.graph.nodes:
        layer = layers.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(layer, Convolution) and uses[node.target] == 1:
            reader = _only_reader(node)
            layer.owns_gradient = (
                reader is not None
                and reader.op == "call_module"
                and isinstance(layers[str(reader.target)], Convolution)
            )
    traced.delete_all_unused_submodules()


def _absorbed(traced: fx.GraphModule, node: fx.Node, layers: dict[str, nn.Module]) -> Bounds:
    """Take the clipping operations behind a node out of the graph, and say what they clip to."""
    bounds, chain = Bounds(), []
    reader = _only_reader(node)
    while reader is not None and (found := clipped_to(reader, layers)) is not None:
        both = Bounds(low=max(bounds.low, found.low), high=min(bounds.high, found.high))
        if both.low >= both.high:
            break
        bounds = both
        chain.append(reader)
        reader = _only_reader(reader)
    if bounds.clip and _is_written_into(chain[-1], layers):
        return Bounds()
    for reader in chain:
        reader.replace_all_uses_with(node)
        traced.graph.erase_node(reader)
    return bounds


def _is_plain_sum(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    if node.op == "call_module" or len(node.args) != 2 or node.kwargs:
        return False
    first, second = node.args
    if not isinstance(first, fx.Node) or not isinstance(second, fx.Node):
        return False
    return not in_place(node, layers) or len(first.users) == 1  # Others may read what was written.


def _replace_sum(traced: fx.GraphModule, node: fx.Node, bounds: Bounds, layers: dict[str, nn.Module]) -> None:
    first, second = node.args
    assert isinstance(first, fx.Node) and isinstance(second, fx.Node)
    made_here = [layers.get(str(a.target)) if a.op == "call_module" else None for a in (first, second)]
    free = [
        isinstance(layer, Convolution) and not layer.bounds.clip and len(a.users) == 1
        for a, layer in zip((first, second), made_here, strict=True)
    ]
    name = f"clipped_sum_{node.name}"
    traced.add_submodule(name, ClippedSum(bounds, overwrite=any(free)))
    with traced.graph.inserting_before(node):
        arguments = (second, first) if free[1] and not free[0] else (first, second)
        new = traced.graph.call_module(name, arguments)
    node.replace_all_uses_with(new)
    traced.graph.erase_node(node)


def _only_reader(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _plain(graph: fx.Graph) -> bool:
    """Make a graph independent of memory layout; False where that can't be done.

    Convolutions will give channels-last maps, of which `view` may fail where `reshape` copies.
    """
    for node in graph.nodes:
        if node.op == "call_method" and node.target in ("as_strided", "stride", "is_contiguous", "data_ptr"):
            return False
        if node.op == "call_method" and node.target == "view":
            if "size" in node.kwargs:
                node.args, node.kwargs = (*node.args, node.kwargs["size"]), {}
            if len(node.args) > 1 and not isinstance(node.args[1], torch.dtype):
                node.target = "reshape"
    return True


def _foldable(traced: fx.GraphModule) -> dict[str, str]:
    """Names of convolutions, with the normalisation that alone reads each; both are used once."""
    layers = dict(traced.named_modules())
    calls = [node for node in traced.graph.nodes if node.op == "call_module"]
    uses = collections.Counter(node.target for node in calls)
    read = {str(node.target).rpartition(".")[0] for node in traced.graph.nodes if node.op == "get_attr"}
    found = {}
    for node in calls:
        norm = layers[node.target]
        source = node.args[0] if node.args else None
        if (
            _normalises(norm)
            and norm.running_mean is not None  # Otherwise it normalises by the batch's own statistics.
            and isinstance(source, fx.Node)
            and source.op == "call_module"
            and _zero_padded(layers[source.target])
            and len(source.users) == 1
            and uses[source.target] == uses[node.target] == 1
            and not read & {source.target, node.target}  # The host reads their tensors elsewhere too.
        ):
            found[str(source.target)] = str(node.target)
    return found


def _frozen(layer: nn.Module, norm: nn.Module | None) -> Convolution:
    """The engine's convolution, which does `norm` too, folded in float64."""
    assert isinstance(layer, nn.Conv2d)
    weight, bias = _effective_weight(layer).double(), layer.bias
    if norm is not None:
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        if norm.weight is not None:
            scale = scale * norm.weight.double()
        shift = (bias.double() if bias is not None else 0) - norm.running_mean.double()
        bias = shift * scale + (norm.bias.double() if norm.bias is not None else 0)
        weight = weight * scale.view(-1, 1, 1, 1)
    dtype = layer.weight.dtype
    return Convolution(
        weight.to(dtype),
        None if bias is None else bias.detach().to(dtype),
        stride=pair(layer.stride),
        padding="same" if isinstance(layer, same_padded()) or getattr(layer, "same_pad", False) else _padding(layer),
        dilation=pair(layer.dilation),
        groups=layer.groups,
    )


@torch.no_grad()
def _effective_weight(layer: nn.Conv2d) -> Tensor:
    """The weight that a convolution uses: of a weight-standardised one, what it makes of its parameter."""
    if not isinstance(layer, standardised()):
        return layer.weight.detach()
    gain = (layer.gain * layer.scale).view(-1).double() if hasattr(layer, "gain") else None
    flat = layer.weight.double().reshape(1, layer.out_channels, -1)
    standard = F.batch_norm(flat, None, None, weight=gain, training=True, momentum=0.0, eps=layer.eps)
    return standard.reshape_as(layer.weight)


def _padding(layer: nn.Conv2d) -> tuple[int, int]:
    if not isinstance(layer.padding, str):
        return pair(layer.padding)
    sizes = zip(layer.kernel_size, pair(layer.dilation), strict=True)
    return pair([(size - 1) * dilation // 2 if layer.padding == "same" else 0 for size, dilation in sizes])


def _convolves(layer: nn.Module) -> bool:
    return type(layer) in (nn.Conv2d, *same_padded(), *standardised())


def _normalises(layer: nn.Module) -> bool:
    return type(layer) in (nn.BatchNorm2d, *normalised_and_activated())


def _zero_padded(layer: nn.Module) -> bool:
    """Whether the engine's convolution can do what this one does."""
    if not _convolves(layer):
        return False
    assert isinstance(layer, nn.Conv2d)
    if layer.padding_mode != "zeros":
        return False
    sizes = zip(layer.kernel_size, pair(layer.dilation), strict=True)
    return layer.padding != "same" or all((size - 1) * dilation % 2 == 0 for size, dilation in sizes)


def _after(norm: nn.Module) -> nn.Module:
    """What a normalisation layer does behind the normalisation: its activation, or nothing."""
    act = norm.act if isinstance(norm, normalised_and_activated()) else None
    return act if isinstance(act, nn.Module) else nn.Identity()


def _replace(module: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, new)
