"""Rules of operations that act on every pixel alike: activations, fixed normalisation, mixes of channels."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.engine.activations import Clip
from reprogram.engine.framed_ops import ChannelsLast, map_pixels
from reprogram.engine.linear import EngineLinear
from reprogram.engine.rules.tables import Operation, for_functions, for_library, for_modules
from reprogram.framed import Framed

ACTIVATION_MODULES = (
    nn.ReLU,
    nn.ReLU6,
    nn.Hardtanh,
    Clip,
    nn.LeakyReLU,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.SiLU,
    nn.GELU,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Hardshrink,
    nn.Sigmoid,
    nn.LogSigmoid,
    nn.Tanh,
    nn.Mish,
    nn.Softplus,
    nn.Softsign,
    nn.Identity,
    nn.Dropout,
    nn.Dropout2d,
)
"""Modules that compute a function of each number, at least in evaluation mode."""

ACTIVATION_FUNCTIONS = (
    F.relu,
    F.relu_,
    torch.relu,
    torch.relu_,
    F.relu6,
    F.hardtanh,
    F.leaky_relu,
    F.elu,
    F.celu,
    F.selu,
    F.silu,
    F.gelu,
    F.hardswish,
    F.hardsigmoid,
    F.mish,
    F.softplus,
    F.softsign,
    F.sigmoid,
    F.tanh,
    torch.sigmoid,
    torch.tanh,
    torch.neg,
    torch.abs,
    torch.exp,
    torch.square,
    torch.clamp,
    "relu",
    "relu_",
    "sigmoid",
    "sigmoid_",
    "tanh",
    "clamp",
    "clamp_",
    "neg",
    "abs",
    "contiguous",
    "clone",
    "detach",
)
"""Functions and methods that compute a function of each number."""


@for_modules(*ACTIVATION_MODULES)
@for_functions(*ACTIVATION_FUNCTIONS)
def _activation(call: Operation, value: Any, *args: Any, **kwargs: Any) -> Any:
    """A function of each number, with options that are the same for all numbers."""
    if any(isinstance(a, Tensor | Framed | ChannelsLast) for a in (*args, *kwargs.values())):
        return NotImplemented
    return (
        map_pixels(value, lambda part: call(part, *args, **kwargs))
        if isinstance(value, Framed | ChannelsLast)
        else NotImplemented
    )


@for_functions(F.dropout, F.dropout2d)
@for_library("torchvision.ops", "stochastic_depth")
def _drop(call: Operation, value: Any, *args: Any, **kwargs: Any) -> Any:
    """Dropout does nothing in evaluation; in training each image differs, so that no frame is shared."""
    bound = inspect.signature(call).bind(value, *args, **kwargs)
    bound.apply_defaults()
    return (
        map_pixels(value, torch.clone)
        if isinstance(value, Framed) and not bound.arguments["training"]
        else NotImplemented
    )


@for_modules(nn.PReLU, nn.LocalResponseNorm, nn.ChannelShuffle, nn.Softmax2d)
@for_library("torchvision.models.shufflenetv2", "channel_shuffle")
def _channels(call: Operation, value: Any, *args: Any) -> Any:
    """A function of the channels of each pixel."""
    return map_pixels(value, lambda part: call(part, *args)) if isinstance(value, Framed) else NotImplemented


@for_modules(nn.BatchNorm2d)
@for_library("timm.layers", "BatchNormAct2d")
def _batch_norm(layer: nn.BatchNorm2d, value: Any) -> Any:
    """Normalisation by the running statistics; without them it depends on the whole batch."""
    return map_pixels(value, layer) if isinstance(value, Framed) and layer.running_mean is not None else NotImplemented


@for_functions(F.batch_norm)
def _batch_norm_function(call: Operation, value: Any, mean: Any, var: Any, *args: Any, **kwargs: Any) -> Any:
    """Batch normalisation as a function."""
    training = kwargs.get("training", args[2] if len(args) > 2 else False)
    if not isinstance(value, Framed) or mean is None or training:
        return NotImplemented
    return map_pixels(value, lambda part: call(part, mean, var, *args, **kwargs))


@for_modules(nn.LayerNorm, EngineLinear)
def _along_channels(layer: nn.LayerNorm | EngineLinear, value: Any) -> Any:
    """A function of the last axis, which must be the axis of the channels."""
    last_only = isinstance(layer, EngineLinear) or len(layer.normalized_shape) == 1
    return map_pixels(value, layer) if isinstance(value, ChannelsLast) and last_only else NotImplemented


@for_functions(F.layer_norm)
def _layer_norm_function(call: Operation, value: Any, normalized_shape: Any, *args: Any, **kwargs: Any) -> Any:
    """Layer normalisation as a function, of the channels alone."""
    if not isinstance(value, ChannelsLast) or len(normalized_shape) != 1:
        return NotImplemented
    return map_pixels(value, lambda part: call(part, normalized_shape, *args, **kwargs))


@for_functions(F.linear)
def _linear_function(call: Operation, value: Any, *args: Any, **kwargs: Any) -> Any:
    """A linear layer as a function, of the channels."""
    return (
        map_pixels(value, lambda part: call(part, *args, **kwargs))
        if isinstance(value, ChannelsLast)
        else NotImplemented
    )
