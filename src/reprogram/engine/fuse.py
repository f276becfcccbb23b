"""Makes of a host's module the graph that the engine runs: normalisation and clipping are folded into convolutions.

All of it leaves the scores equal up to rounding.
"""

import collections
import warnings

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from reprogram.engine.activations import SUM_FUNCTIONS, Bounds, ClippedSum, clipped_to, keep_output
from reprogram.engine.aliasing import in_place, is_view, writes_into_part, written_by
from reprogram.engine.convolution import Convolution, pair
from reprogram.engine.libraries import normalised_and_activated, same_padded, standardised
from reprogram.engine.linear import EngineLinear
from reprogram.engine.trace import (
    HostTracer,
    UntracedModule,
    acts_otherwise,
    convolves,
    make_layout_free,
    normalises,
    set_evaluation,
)
from reprogram.utils.seeding import seeded


def fuse(net: nn.Module) -> nn.Module:
    """Make a module that computes the same scores faster.

    Args:
        net: a frozen module in evaluation mode; it isn't changed.

    Returns:
        A graph that shares everything but convolutions with `net`; `net` itself where it can't be traced, or a
        call of a part does other than its class says.
    """
    if any(map(acts_otherwise, net.modules())):
        return net
    if not any(map(convolves, net.modules())):
        return net
    try:
        with warnings.catch_warnings(), seeded(None), torch.enable_grad():
            warnings.simplefilter("ignore")
            before = torch.get_rng_state()
            tracer = HostTracer()
            traced = fx.GraphModule(net, tracer.trace(net))
            if not torch.equal(before, torch.get_rng_state()):
                return net  # It draws random numbers, which a trace would freeze.
    except Exception:  # torch.fx raises whatever the traced code raises; such a host runs as it is.
        return net
    if writes_into_part(traced) or not make_layout_free(traced.graph):
        return net
    _lower(traced, tracer)
    set_evaluation(traced)
    return traced


def _lower(traced: fx.GraphModule, tracer: HostTracer) -> None:
    """Replace the modules that a graph calls by the engine's own; the host's modules stay as they are."""
    called = {str(node.target) for node in traced.graph.nodes if node.op == "call_module"}
    for name in sorted(called):
        if not tracer.is_leaf_module(traced.get_submodule(name), name):
            _replace(traced, name, UntracedModule(traced.get_submodule(name)))
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
        _replace(traced, norm, _activation_of(traced.get_submodule(norm)))
    for name in sorted(called):
        layer = traced.get_submodule(name)
        if type(layer) is nn.Linear:
            _replace(traced, name, EngineLinear(layer))
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
    """Whether an operation's input has other readers: if it works in place, they may write into its result."""
    return any(len(source.users) > 1 for source in node.all_input_nodes)


def _is_written_into(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    """Whether another operation writes into a node's result, which then can't be kept for the backward pass."""
    return any(
        written_by(user, layers) is node
        or ((is_view(user) or clipped_to(user, layers) == Bounds()) and _is_written_into(user, layers))
        for user in node.users
    )


def _fold_clips(traced: fx.GraphModule) -> None:
    """Fold a ReLU, ReLU6 or Hardtanh into the convolution or sum before it, if nothing else reads that one's result."""
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
    """Remove the clipping operations that follow a node from the graph; the interval that they clip to together."""
    bounds, chain = Bounds(), []
    reader = _only_reader(node)
    while reader is not None and (interval := clipped_to(reader, layers)) is not None:
        intersection = Bounds(low=max(bounds.low, interval.low), high=min(bounds.high, interval.high))
        if intersection.low >= intersection.high:
            break
        bounds = intersection
        chain.append(reader)
        reader = _only_reader(reader)
    if bounds.clip and _is_written_into(chain[-1], layers):
        return Bounds()
    for reader in chain:
        reader.replace_all_uses_with(node)
        traced.graph.erase_node(reader)
    return bounds


def _is_plain_sum(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    """Whether an operation adds two maps of the graph and changes none that others read."""
    if node.op == "call_module" or len(node.args) != 2 or node.kwargs:
        return False
    first, second = node.args
    if not isinstance(first, fx.Node) or not isinstance(second, fx.Node):
        return False
    return not in_place(node, layers) or len(first.users) == 1  # Other readers of `first` would read the sum.


def _replace_sum(traced: fx.GraphModule, node: fx.Node, bounds: Bounds, layers: dict[str, nn.Module]) -> None:
    """Put a `ClippedSum` in place of a sum; the first term is one that it may overwrite, if there is one."""
    first, second = node.args
    assert isinstance(first, fx.Node) and isinstance(second, fx.Node)
    producers = [layers.get(str(term.target)) if term.op == "call_module" else None for term in (first, second)]
    writable = [  # The backward pass needs no output of a convolution that isn't clipped.
        isinstance(layer, Convolution) and not layer.bounds.clip and len(term.users) == 1
        for term, layer in zip((first, second), producers, strict=True)
    ]
    name = f"clipped_sum_{node.name}"
    traced.add_submodule(name, ClippedSum(bounds, overwrite=any(writable)))
    with traced.graph.inserting_before(node):
        arguments = (second, first) if writable[1] and not writable[0] else (first, second)
        clipped_sum = traced.graph.call_module(name, arguments)
    node.replace_all_uses_with(clipped_sum)
    traced.graph.erase_node(node)


def _only_reader(node: fx.Node) -> fx.Node | None:
    """The node that alone reads a node's result; None where several do."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def _foldable(traced: fx.GraphModule) -> dict[str, str]:
    """The normalisation that can be folded into each convolution, by the names of both; both are called once."""
    layers = dict(traced.named_modules())
    calls = [node for node in traced.graph.nodes if node.op == "call_module"]
    uses = collections.Counter(node.target for node in calls)
    read_elsewhere = {str(node.target).rpartition(".")[0] for node in traced.graph.nodes if node.op == "get_attr"}
    norms = {}
    for node in calls:
        norm = layers[node.target]
        source = node.args[0] if node.args else None
        if (
            normalises(norm)
            and norm.running_mean is not None  # Otherwise it normalises by the batch's own statistics.
            and isinstance(source, fx.Node)
            and source.op == "call_module"
            and _zero_padded(layers[source.target])
            and len(source.users) == 1
            and uses[source.target] == uses[node.target] == 1
            and not read_elsewhere & {source.target, node.target}  # The host must not read their tensors elsewhere.
        ):
            norms[str(source.target)] = str(node.target)
    return norms


def _frozen(layer: nn.Module, norm: nn.Module | None) -> Convolution:
    """The engine's convolution in place of the host's, with a normalisation folded into it in float64."""
    assert isinstance(layer, nn.Conv2d)
    weight, bias = _effective_weight(layer).double(), layer.bias
    if norm is not None:
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
        # gain / √(variance + eps), one number for each output channel
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        if norm.weight is not None:
            scale = scale * norm.weight.double()
        # (w ∗ x + b - mean) · scale + shift = (w · scale) ∗ x + ((b - mean) · scale + shift)
        centred = (bias.double() if bias is not None else 0) - norm.running_mean.double()
        bias = centred * scale + (norm.bias.double() if norm.bias is not None else 0)
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
    """The weight that a convolution computes with: standardised, if the layer standardises its parameter."""
    if not isinstance(layer, standardised()):
        return layer.weight.detach()
    gain = (layer.gain * layer.scale).view(-1).double() if hasattr(layer, "gain") else None
    # 1 × o × (c kh kw): each filter to mean 0 and variance 1, times its gain
    flat = layer.weight.double().reshape(1, layer.out_channels, -1)
    standard = F.batch_norm(flat, None, None, weight=gain, training=True, momentum=0.0, eps=layer.eps)
    return standard.reshape_as(layer.weight)


def _padding(layer: nn.Conv2d) -> tuple[int, int]:
    """Rows and columns of zeros on every side."""
    if not isinstance(layer.padding, str):
        return pair(layer.padding)
    # Half the reach, (size - 1) · dilation.
    sizes = zip(layer.kernel_size, pair(layer.dilation), strict=True)
    return pair([(size - 1) * dilation // 2 if layer.padding == "same" else 0 for size, dilation in sizes])


def _zero_padded(layer: nn.Module) -> bool:
    """Whether a layer is a convolution with a padding that the engine's convolution knows: zeros, and no odd one."""
    if not convolves(layer):
        return False
    assert isinstance(layer, nn.Conv2d)
    if layer.padding_mode != "zeros":
        return False
    sizes = zip(layer.kernel_size, pair(layer.dilation), strict=True)
    return layer.padding != "same" or all((size - 1) * dilation % 2 == 0 for size, dilation in sizes)


def _activation_of(norm: nn.Module) -> nn.Module:
    """The activation that a normalisation layer applies after normalising; the identity if it applies none."""
    activation = norm.act if isinstance(norm, normalised_and_activated()) else None
    return activation if isinstance(activation, nn.Module) else nn.Identity()


def _replace(module: nn.Module, name: str, new: nn.Module) -> None:
    """Put another module in place of a submodule."""
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, new)
