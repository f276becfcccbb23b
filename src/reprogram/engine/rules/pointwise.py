"""What acts on every pixel alike: activations, normalisation by fixed statistics, and what mixes channels only."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.engine.clip import Clip
from reprogram.engine.product import Product
from reprogram.engine.rules.tables import Rule, for_functions, for_library, for_modules
from reprogram.engine.sharing import ChannelsLast, each
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


@for_modules(*ACTIVATION_MODULES)
@for_functions(*ACTIVATION_FUNCTIONS)
def activation(call: Rule, value: Any, *args: Any, **kwargs: Any) -> Any:
    """A function of each number, with options that are the same for all."""
    if any(isinstance(a, Tensor | Framed | ChannelsLast) for a in (*args, *kwargs.values())):
        return NotImplemented
    return (
        each(value, lambda part: call(part, *args, **kwargs))
        if isinstance(value, Framed | ChannelsLast)
        else NotImplemented
    )


@for_functions(F.dropout, F.dropout2d)
@for_library("torchvision.ops", "stochastic_depth")
def drop(call: Rule, value: Any, *args: Any, **kwargs: Any) -> Any:
    """Nothing, unless it is told that this is training: then each image has its own luck."""
    given = inspect.signature(call).bind(value, *args, **kwargs)
    given.apply_defaults()
    return each(value, torch.clone) if isinstance(value, Framed) and not given.arguments["training"] else NotImplemented


@for_modules(nn.PReLU, nn.LocalResponseNorm, nn.ChannelShuffle, nn.Softmax2d)
@for_library("torchvision.models.shufflenetv2", "channel_shuffle")
def channels(call: Rule, value: Any, *args: Any) -> Any:
    """A function of each pixel's channels."""
    return each(value, lambda part: call(part, *args)) if isinstance(value, Framed) else NotImplemented


@for_modules(nn.BatchNorm2d)
@for_library("timm.layers", "BatchNormAct2d")
def batch_norm(layer: nn.BatchNorm2d, value: Any) -> Any:
    """By the running statistics; without them it depends on the whole batch."""
    return each(value, layer) if isinstance(value, Framed) and layer.running_mean is not None else NotImplemented


@for_functions(F.batch_norm)
def batch_norm_function(call: Rule, value: Any, mean: Any, var: Any, *args: Any, **kwargs: Any) -> Any:
    """The same as a function."""
    training = kwargs.get("training", args[2] if len(args) > 2 else False)
    if not isinstance(value, Framed) or mean is None or training:
        return NotImplemented
    return each(value, lambda part: call(part, mean, var, *args, **kwargs))


@for_modules(nn.LayerNorm, Product)
def along_channels(layer: nn.LayerNorm | Product, value: Any) -> Any:
    """A function of the last axis, which must be that of the channels."""
    last_only = isinstance(layer, Product) or len(layer.normalized_shape) == 1
    return each(value, layer) if isinstance(value, ChannelsLast) and last_only else NotImplemented


@for_functions(F.layer_norm)
def layer_norm_function(call: Rule, value: Any, normalized_shape: Any, *args: Any, **kwargs: Any) -> Any:
    """The same as a function."""
    if not isinstance(value, ChannelsLast) or len(normalized_shape) != 1:
        return NotImplemented
    return each(value, lambda part: call(part, normalized_shape, *args, **kwargs))


@for_functions(F.linear)
def linear_function(call: Rule, value: Any, *args: Any, **kwargs: Any) -> Any:
    """The same as a function."""
    return each(value, lambda part: call(part, *args, **kwargs)) if isinstance(value, ChannelsLast) else NotImplemented
