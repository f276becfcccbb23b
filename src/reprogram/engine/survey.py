"""What sharing saves on a host, stage by stage, and where and why it ended."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from reprogram.engine import Prepared
from reprogram.engine.convolution import Convolution
from reprogram.engine.product import Product
from reprogram.engine.sharing import ChannelsLast
from reprogram.framed import Framed


@dataclass(kw_only=True)
class Stage:
    """The operations whose maps have one size.

    Attributes:
        size: height and width of the maps in pixels.
        dense_macs: multiplications with additions when every image runs whole, a batch.
        shared_macs: those that the engine does.
        window: height and width of the last window, in the map's pixels; None where the maps are dense.
    """

    size: tuple[int, int]
    dense_macs: int = 0
    shared_macs: int = 0
    window: tuple[int, int] | None = None


@dataclass(kw_only=True)
class Survey:
    """What came of one batch.

    Attributes:
        traced: whether the host could be traced at all.
        stages: in the order of computation.
        became_dense: operation and reason for each place where a shared map became dense.
    """

    traced: bool
    stages: list[Stage] = field(default_factory=list)
    became_dense: list[tuple[str, str]] = field(default_factory=list)

    @property
    def dense_macs(self) -> int:
        """Over all stages."""
        return sum(stage.dense_macs for stage in self.stages)

    @property
    def shared_macs(self) -> int:
        """Over all stages."""
        return sum(stage.shared_macs for stage in self.stages)


@torch.no_grad()
def survey(prepared: Prepared, framed: Framed) -> Survey:
    """Run a batch and count.

    Args:
        prepared: the host's module.
        framed: normalised images.

    Returns:
        Multiplications of convolutions and linear layers; the rest is small beside them.
    """
    result = Survey(traced=prepared.executor is not None)
    if prepared.executor is None:
        return result
    modules = prepared.executor.modules
    batch = len(framed)

    def watch(node: fx.Node, args: tuple[Any, ...], value: Any, why: str) -> None:
        layer = modules[str(node.target)] if node.op == "call_module" else None
        shared = any(isinstance(a, Framed | ChannelsLast) for a in _flat(args))
        if shared and isinstance(value, Tensor):
            others = [a.shape[2:].numel() for a in _flat(args) if isinstance(a, Tensor) and a.ndim == 4]
            if why and others:
                why = "another operand is dense already" if max(others) > 1 else "scaled for each image by itself"
            reason = why or _reason(value)
            result.became_dense.append((f"{node.name} ({_name(node, layer)})", reason))
        if isinstance(layer, Convolution | nn.Conv2d | Product):
            _count(result.stages, layer, value, batch)

    prepared.executor.run(framed, watch)
    return result


def _count(stages: list[Stage], layer: Any, value: Any, batch: int) -> None:
    value = value.maps if isinstance(value, ChannelsLast) else value
    maps = isinstance(value, Framed) or (value.ndim == 4 and not isinstance(layer, Product))
    shape = value.frame.shape if isinstance(value, Framed) else value.shape
    size = (shape[2], shape[3]) if maps else (1, 1)
    if not stages or stages[-1].size != size:
        stages.append(Stage(size=size))
    stage = stages[-1]
    positions = size[0] * size[1] if maps else value.numel() // (batch * shape[-1])
    stage.dense_macs += batch * positions * layer.weight.numel()
    if isinstance(value, Framed):
        stage.window = value.box.height, value.box.width
        stage.shared_macs += (positions + batch * value.box.height * value.box.width) * layer.weight.numel()
    else:
        stage.window = None
        stage.shared_macs += batch * positions * layer.weight.numel()


def _flat(args: Any) -> list[Any]:
    return [b for a in args for b in (a if isinstance(a, list | tuple) else [a])]


def _name(node: fx.Node, layer: nn.Module | None) -> str:
    return type(layer).__name__ if layer is not None else getattr(node.target, "__name__", str(node.target))


def _reason(value: Any) -> str:
    whole = isinstance(value, Tensor) and value.ndim == 4 and value.shape[2] * value.shape[3] > 1
    return "the window covers most of the map" if whole else "the maps end here"
