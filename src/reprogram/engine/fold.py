"""Dense execution made faster: BatchNorm folded into the convolution before it, channels-last memory.

Both leave the scores equal up to rounding. On a CPU they save about a third of a step by themselves.
"""

import collections
import copy
import warnings

import torch
from timm.layers import BatchNormAct2d, Conv2dSame
from torch import fx, nn

from reprogram.engine.aliasing import writes_into_part
from reprogram.engine.clip import keep_output

CONVOLUTIONS = (nn.Conv2d, Conv2dSame)
NORMALISATIONS = (nn.BatchNorm2d, BatchNormAct2d)


class HostTracer(fx.Tracer):
    """Traces a host down to PyTorch's layers and timm's own convolution and normalisation layers."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Layers stay whole; containers are traced through."""
        return type(m) in (*CONVOLUTIONS, *NORMALISATIONS) or super().is_leaf_module(m, module_qualified_name)


def fold(net: nn.Module) -> nn.Module:
    """Return a module that computes the same scores faster, or `net` itself where that isn't possible.

    Args:
        net: a frozen module in evaluation mode; it isn't changed, and all but the convolutions is shared with it.
    """
    if any(m._forward_hooks or m._forward_pre_hooks for m in net.modules()):
        return net  # A hook may look at, or change, what folding takes away.
    if not any(type(m) in CONVOLUTIONS for m in net.modules()):
        return net
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            before = torch.get_rng_state()
            traced = fx.GraphModule(net, HostTracer().trace(net))
            if not torch.equal(before, torch.get_rng_state()):
                return net  # It draws random numbers, which a trace would freeze.
    except Exception:  # torch.fx raises whatever the traced code raises; such a host runs as it is.
        return net
    if writes_into_part(traced) or not _plain(traced.graph):
        return net
    norms = _foldable(traced)
    for name, layer in list(traced.named_modules()):
        if type(layer) in CONVOLUTIONS:
            norm = norms.get(name)
            _replace(traced, name, _faster(layer, traced.get_submodule(norm) if norm else None))
    for norm in norms.values():
        _replace(traced, norm, _after(traced.get_submodule(norm)))
    for name, layer in list(traced.named_modules()):
        if (kept := keep_output(layer)) is not layer:
            _replace(traced, name, kept)
    traced.recompile()
    return traced.eval()


def _plain(graph: fx.Graph) -> bool:
    """Make a graph independent of memory layout; False where that can't be done.

    Convolutions will give channels-last maps, of which `view` may fail where `reshape` copies.
    """
    for node in graph.nodes:
        if node.op == "call_method" and node.target in ("as_strided", "stride", "is_contiguous", "data_ptr"):
            return False
        if node.op == "call_method" and node.target == "view" and not isinstance(node.args[1], torch.dtype):
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
            type(norm) in NORMALISATIONS
            and norm.running_mean is not None  # Otherwise it normalises by the batch's own statistics.
            and isinstance(source, fx.Node)
            and source.op == "call_module"
            and type(layers[source.target]) in CONVOLUTIONS
            and len(source.users) == 1
            and uses[source.target] == uses[node.target] == 1
            and not read & {source.target, node.target}  # The host reads their tensors elsewhere too.
        ):
            found[str(source.target)] = str(node.target)
    return found


def _faster(convolution: nn.Conv2d, norm: nn.Module | None) -> nn.Conv2d:
    """A copy in channels-last memory that does `norm` too, folded in float64."""
    weight, bias = convolution.weight.detach().double(), convolution.bias
    if norm is not None:
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        if norm.weight is not None:
            scale = scale * norm.weight.double()
        shift = (bias.double() if bias is not None else 0) - norm.running_mean.double()
        bias = shift * scale + (norm.bias.double() if norm.bias is not None else 0)
        weight = weight * scale.view(-1, 1, 1, 1)
    result = copy.copy(convolution)
    result._parameters = {}
    dtype = convolution.weight.dtype
    result.weight = nn.Parameter(weight.to(dtype, memory_format=torch.channels_last), requires_grad=False)
    result.bias = None if bias is None else nn.Parameter(bias.detach().to(dtype), requires_grad=False)
    return result


def _after(norm: nn.Module) -> nn.Module:
    """What a normalisation layer does behind the normalisation: its activation, or nothing."""
    return norm.act if isinstance(norm, BatchNormAct2d) and isinstance(norm.act, nn.Module) else nn.Identity()


def _replace(module: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(module.get_submodule(parent), child, new)
