"""Any local host without its smallest weights: `pruned:efficientnet-lite0?share=0.5`."""

from dataclasses import dataclass

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.hosts._changed_weights import ChangedWeights


class Pruned(ChangedWeights):
    """The smallest weights of all convolutions, linear layers and attentions together are set to 0.

    Nothing is trained afterwards. Of equal weights the first ones go.

    Reference: Han, Pool, Tran and Dally, Learning both Weights and Connections for Efficient Neural Networks, NeurIPS
    2015 (there with training).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            host: spec of the host; one with `?` of its own goes in brackets, as in `untrained`.
            share: the part of the weights that is set to 0, in [0, 1).
        """

        host: str
        share: float = 0.5

        def __post_init__(self) -> None:
            if not 0 <= self.share < 1:
                raise ConfigError(f"share={self.share}; a part in [0, 1) is expected")

    @classmethod
    def example(cls) -> Config:
        """Half of a tiny ResNet."""
        return cls.Config(host="timm:test_resnet(pretrained=False, num_classes=16, size=48)")

    def change(self, weights: list[Tensor]) -> list[Tensor]:
        """Set those to 0 whose absolute value is among the smallest."""
        sizes = torch.cat([weight.abs().flatten() for weight in weights])
        count = int(self.config.share * len(sizes))
        if not count:
            return weights
        largest = sizes.kthvalue(count).values
        kept = sizes > largest
        equal = (sizes == largest).nonzero().flatten()
        kept[equal[count - int((sizes < largest).sum()) :]] = True
        masks = torch.split(kept, [weight.numel() for weight in weights])
        return [weight * mask.view_as(weight) for weight, mask in zip(weights, masks, strict=True)]
