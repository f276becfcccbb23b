"""Sources whose hosts are another host with other weights: pruned or rounded ones."""

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from reprogram.errors import ConfigError
from reprogram.hosts._inner import InnerSource
from reprogram.hosts.base import Host
from reprogram.hosts.python import PythonHost


class ChangedWeights(InnerSource):
    """A source whose `change` makes new weights of those of the convolutions and linear layers of another host."""

    def change(self, weights: list[Tensor]) -> list[Tensor]:
        """The new weights.

        Args:
            weights: of each convolution and linear layer, outputs first.

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
        layers = [part for part in net.modules() if isinstance(part, nn.Linear | nn.modules.conv._ConvNd)]
        if not layers:
            raise ConfigError(f"{self.name()}: {self.config.host} has no convolution or linear layer of PyTorch")
        with torch.no_grad():
            for layer, weight in zip(layers, self.change([layer.weight.detach() for layer in layers]), strict=True):
                layer.weight.copy_(weight)
        bare = host.untrained
        return Host(net, host.info, untrained=None if bare is None else lambda seed: self._changed(bare(seed)))
