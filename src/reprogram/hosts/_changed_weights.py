"""Sources whose hosts are another host with other weights: pruned or rounded ones."""

import copy
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from reprogram.errors import ConfigError
from reprogram.hosts._inner import InnerSource
from reprogram.hosts.base import Host
from reprogram.hosts.python import PythonHost


class ChangedWeights(InnerSource):
    """A source whose `change` makes new weights of another host's convolutions, linear layers and attentions."""

    def change(self, weights: list[Tensor]) -> list[Tensor]:
        """The new weights.

        Args:
            weights: of each convolution, linear layer and attention's input, outputs first.

        Returns:
            Tensors of the same shapes.
        """
        raise NotImplementedError

    def made_of(self, host: Host) -> Host:
        """Change a host's weights."""
        changed = self._changed(host)
        changed.info = replace(changed.info, id=self.spec())
        return changed

    def _changed(self, host: Host) -> Host:
        if host.guard is not None or type(host) not in (Host, PythonHost):
            if host.guard is None and not isinstance(self._source(), InnerSource):
                raise ConfigError(f"{self.name()}: {self.config.host} isn't made of PyTorch's layers; give one that is")
            raise ConfigError(f"{self.name()}: {self.config.host} isn't a bare host; put {self.name()} inside")
        net = copy.deepcopy(host.net)
        held = [(layer, name) for layer in net.modules() for name in _weights_of(layer)]
        if not held:
            raise ConfigError(f"{self.name()}: {self.config.host} has no convolution or linear layer of PyTorch")
        for layer, name in held:
            self._make_plain(layer, name)
        with torch.no_grad():
            before = [_outputs_first(layer, getattr(layer, name).detach()) for layer, name in held]
            for (layer, name), weight in zip(held, self.change(before), strict=True):
                getattr(layer, name).copy_(_as_held(layer, weight))
        bare = host.untrained
        return Host(net, host.info, untrained=None if bare is None else lambda seed: self._changed(bare(seed)))

    def _make_plain(self, layer: nn.Module, name: str) -> None:
        """Let a layer hold the weight itself that it computes of others, such as by weight normalisation."""
        if parametrize.is_parametrized(layer):
            values = {
                held: getattr(layer, held).detach().clone() for held in cast(nn.ModuleDict, layer.parametrizations)
            }
            # PyTorch's own remove_parametrizations changes the layer's class, which the copied host shares.
            del layer.parametrizations
            layer.__class__ = type(layer).__bases__[0]
            for held, value in values.items():
                setattr(layer, held, nn.Parameter(value, requires_grad=False))
        if name not in layer._parameters:
            raise ConfigError(
                f"{self.name()}: {self.config.host} has a {type(layer).__name__} that computes its {name} anew for "
                "each image; remove what does so from the model, such as by torch.nn.utils.remove_weight_norm"
            )


def _weights_of(layer: nn.Module) -> list[str]:
    """The names of the weights of a convolution, a linear layer, or the inputs of an attention; none of others."""
    if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
        return ["weight"]
    if isinstance(layer, nn.MultiheadAttention):  # Its last layer is a linear one.
        names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        return [name for name in names if getattr(layer, name) is not None]
    return []


def _outputs_first(layer: nn.Module, weight: Tensor) -> Tensor:
    """A weight with its outputs along the first dimension; transposed convolutions have their inputs there."""
    if not isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return weight
    groups = torch.unflatten(weight, 0, (layer.groups, -1))  # groups x inputs x outputs x kernel
    return groups.transpose(1, 2).flatten(0, 1)


def _as_held(layer: nn.Module, weight: Tensor) -> Tensor:
    """The inverse of `_outputs_first`."""
    if not isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return weight
    return torch.unflatten(weight, 0, (layer.groups, -1)).transpose(1, 2).flatten(0, 1)
