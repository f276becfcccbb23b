"""The multiplications that sharing saves on a host, stage by stage, and where and why sharing ends."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from reprogram.engine.convolution import Convolution
from reprogram.engine.framed_ops import ChannelsLast
from reprogram.engine.linear import EngineLinear
from reprogram.engine.prepared import Prepared
from reprogram.framed import Framed


@dataclass(kw_only=True)
class Stage:
    """The operations whose maps have one size.

    Attributes:
        size: height and width of the maps in pixels.
        dense_macs: multiply-adds of a batch when every image runs whole.
        shared_macs: multiply-adds of the batch when the engine runs it.
        window: height and width of the last window, in the map's pixels; None where the maps are dense.
    """

    size: tuple[int, int]
    dense_macs: int = 0
    shared_macs: int = 0
    window: tuple[int, int] | None = None


@dataclass(kw_only=True)
class HostProfile:
    """The cost of one batch on a host, dense and shared.

    Attributes:
        traced: whether the host could be traced at all.
        stages: the stages in the order of computation.
        became_dense: the operation and the reason, wherever a shared map became dense.
    """

    traced: bool
    stages: list[Stage] = field(default_factory=list)
    became_dense: list[tuple[str, str]] = field(default_factory=list)

    @property
    def dense_macs(self) -> int:
        """Multiply-adds of all stages when every image runs whole."""
        return sum(stage.dense_macs for stage in self.stages)

    @property
    def shared_macs(self) -> int:
        """Multiply-adds of all stages when the engine runs the batch."""
        return sum(stage.shared_macs for stage in self.stages)


@torch.no_grad()
def profile(prepared: Prepared, framed: Framed) -> HostProfile:
    """Run a batch and count its multiply-adds.

    Args:
        prepared: the host's module.
        framed: normalised images.

    Returns:
        The multiply-adds of convolutions and linear layers; all others are few beside them.
    """
    result = HostProfile(traced=prepared.executor is not None)
    if prepared.executor is None:
        return result
    modules = prepared.executor.modules
    batch = len(framed)

    def watch(node: fx.Node, args: tuple[Any, ...], value: Any, refusal: str) -> None:
        layer = modules[str(node.target)] if node.op == "call_module" else None
        shared = any(isinstance(a, Framed | ChannelsLast) for a in _flat(args))
        if shared and isinstance(value, Tensor):
            others = [a.shape[2:].numel() for a in _flat(args) if isinstance(a, Tensor) and a.ndim == 4]
            if refusal and others:
                refusal = "another operand is dense already" if max(others) > 1 else "scaled for each image by itself"
            reason = refusal or _reason(value)
            result.became_dense.append((f"{node.name} ({_name(node, layer)})", reason))
        if isinstance(layer, Convolution | nn.Conv2d | EngineLinear):
            _count(result.stages, layer, value, batch)

    prepared.executor.run(framed, watch)
    return result


def _count(stages: list[Stage], layer: Any, value: Any, batch: int) -> None:
    """Add a layer's multiply-adds to the stage of its output's size."""
    value = value.maps if isinstance(value, ChannelsLast) else value
    is_map = isinstance(value, Framed) or (value.ndim == 4 and not isinstance(layer, EngineLinear))
    shape = value.frame.shape if isinstance(value, Framed) else value.shape
    size = (shape[2], shape[3]) if is_map else (1, 1)
    if not stages or stages[-1].size != size:
        stages.append(Stage(size=size))
    stage = stages[-1]
    # One product with the whole weight at each position of the output.
    positions = size[0] * size[1] if is_map else value.numel() // (batch * shape[-1])
    stage.dense_macs += batch * positions * layer.weight.numel()
    if isinstance(value, Framed):
        stage.window = value.box.height, value.box.width
        stage.shared_macs += (positions + batch * value.box.height * value.box.width) * layer.weight.numel()
    else:
        stage.window = None
        stage.shared_macs += batch * positions * layer.weight.numel()


def _flat(args: Any) -> list[Any]:
    """Arguments, and the items of lists among them."""
    return [item for arg in args for item in (arg if isinstance(arg, list | tuple) else [arg])]


def _name(node: fx.Node, layer: nn.Module | None) -> str:
    """The name of an operation's class, function or method."""
    return type(layer).__name__ if layer is not None else getattr(node.target, "__name__", str(node.target))


def _reason(value: Any) -> str:
    """The reason why the result of an operation is dense, though its rule took the arguments."""
    whole = isinstance(value, Tensor) and value.ndim == 4 and value.shape[2] * value.shape[3] > 1
    return "the window covers most of the map" if whole else "the maps end here"
