"""The features that the last layer of a host reads."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from reprogram.hosts._frozen import scores_of
from reprogram.hosts._info import HostInfo


def last_layer_input(net: nn.Module, prepared: nn.Module, images: Any, info: HostInfo) -> tuple[Tensor, str]:
    """The input of the last layer that has an output for each class.

    Args:
        net: the host's module, among whose layers the last one is found.
        prepared: an equal and faster module; it runs instead of `net` where it still has these layers.
        images: b × C × H × W, normalised.
        info: the host's record.

    Returns:
        b × d features, and where they come from: "input of LAYER", or "scores" where no such layer is called.
    """
    names = []
    for name, layer in net.named_modules():
        sizes = getattr(layer, "out_features", None), getattr(layer, "out_channels", None)
        if info.num_classes in sizes and not isinstance(layer, torch.jit.ScriptModule):
            names.append(name)
    if set(names) <= {name for name, _ in prepared.named_modules()}:
        net = prepared
    inputs: list[tuple[str, Tensor]] = []
    hooks = [net.get_submodule(name).register_forward_pre_hook(partial(_note, inputs, name)) for name in names]
    try:
        scores = scores_of(net(images), info.id)
    finally:
        for hook in hooks:
            hook.remove()
    if not inputs:
        return scores, "scores"
    name, features = inputs[-1]
    # b x d x h x w: the mean over h and w; else b x ...: flattened to b x d.
    return (features.mean(dim=(2, 3)) if features.ndim == 4 else features.flatten(1)), f"input of {name}"


def _note(inputs: list[tuple[str, Tensor]], name: str, _: nn.Module, arguments: tuple[Any, ...]) -> None:
    """Append the first argument of a layer's call, if it is a tensor."""
    if arguments and isinstance(arguments[0], Tensor):
        inputs.append((name, arguments[0]))
