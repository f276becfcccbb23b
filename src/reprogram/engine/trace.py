"""Traces a host's module to a graph of PyTorch's own layers, by torch.fx."""

import operator
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate
from torch.fx.proxy import TraceError

from reprogram.engine.libraries import normalised_and_activated, opaque, same_padded, standardised
from reprogram.utils.tensor_cache import HOOKS


class InPlaceProxy(fx.Proxy):
    """A proxy that tells `+=` from `+`: torch.fx's own records both as `+`."""

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
        self.modes = _modes()

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """A node of the graph; a graph keeps neither `no_grad`, nor `autocast`, nor an own `autograd.Function`.

        Args:
            args: of torch.fx's own method.
            kwargs: of torch.fx's own method.

        Raises:
            TraceError: the code that is traced has set such a mode; what sets it has to stay whole.
        """
        if _modes() != self.modes:
            raise TraceError("gradients or autocast are set inside the module")
        return super().create_node(*args, **kwargs)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """The proxy of a node.

        Args:
            node: a node of the graph that is being traced.
        """
        return InPlaceProxy(node, self)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """An attribute of a module; torch.fx patches all modules, also those that another thread is running.

        Args:
            attr: the attribute's name.
            attr_val: its value.
            parameter_proxy_cache: proxies of parameters that were read before.

        Returns:
            A proxy of a parameter; the value itself otherwise, and in every other thread than the tracer's.
        """
        if threading.get_ident() != self.thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module stays one operation: layers do, containers are traced through.

        Args:
            m: the module.
            module_qualified_name: its name in the host.
        """
        return convolves(m) or normalises(m) or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Trace through a module, or make it one operation where that fails.

        Args:
            m: the module.
            forward: its `forward`.
            args: its arguments, proxies as a rule.
            kwargs: its keyword arguments.
        """
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


def _modes() -> tuple[bool, ...]:
    """What a context decides for the operations in it; inside an `autograd.Function` gradients are off."""
    types = ("cpu", "cuda")
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), *map(torch.is_autocast_enabled, types)


def set_evaluation(net: nn.Module) -> None:
    """Set a module and its parts to evaluation mode, without `eval()`, which libraries override.

    Args:
        net: the module.
    """
    for part in net.modules():
        if getattr(part, "training", False):  # A frozen TorchScript module has no mode.
            part.training = False


class UntracedModule(nn.Module):
    """A module that couldn't be traced: it gets its input in the memory layout that it was written for.

    Args:
        module: the host's module.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module with contiguous tensors.

        Args:
            args: the module's arguments.
            kwargs: its keyword arguments.
        """
        args, kwargs = map_aggregate((args, kwargs), lambda a: a.contiguous() if isinstance(a, Tensor) else a)
        return self.module(*args, **kwargs)


def make_layout_free(graph: fx.Graph) -> bool:
    """Make a graph independent of its maps' memory layout.

    The engine's convolutions give channels-last maps, on which `view` may fail and `reshape` copies.

    Args:
        graph: the host's graph; it is changed.

    Returns:
        False where an operation depends on the layout.
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


CALLS = ("forward", "_call_impl", "_wrapped_call_impl")
"""What calls of a module go through; set on an instance, it goes before its class's own."""


def acts_otherwise(module: nn.Module) -> bool:
    """Whether a call of a module does other than `forward` of its class, which is what a trace and the rules follow.

    Args:
        module: the module, without its parts.
    """
    if any(getattr(module, hooks, None) for hooks in HOOKS):
        return True
    if isinstance(module, torch.jit.ScriptModule | fx.GraphModule):
        return False  # Both have calls of their own, for better messages.
    own_call = type(module).__call__ is not nn.Module.__call__ or type(module)._call_impl is not nn.Module._call_impl
    return own_call or not vars(module).keys().isdisjoint(CALLS)


def convolves(layer: nn.Module) -> bool:
    """Whether a layer is a two-dimensional convolution that the engine knows, PyTorch's or timm's.

    Args:
        layer: any module.
    """
    return type(layer) in (nn.Conv2d, *same_padded(), *standardised())


def normalises(layer: nn.Module) -> bool:
    """Whether a layer is a batch normalisation that can be folded; it may apply an activation too.

    Args:
        layer: any module.
    """
    return type(layer) in (nn.BatchNorm2d, *normalised_and_activated())
