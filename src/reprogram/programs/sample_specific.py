"""A shared pattern times a mask that a small network draws for each image."""

import itertools
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.framed import Framed, Geometry
from reprogram.programs.base import DenseProgram
from reprogram.utils.seeding import seeded

CHANNELS = (8, 16, 32, 64)
PATCH = 8


class SampleSpecific(DenseProgram):
    """X_adv = clip(X̃ + f(X̃) ⊙ tanh(W) / 2), f a convolutional network (SMM; Cai et al., 2024).

    f has five 3×3 convolutions and 26,499 parameters on three channels; it gives one value in (0, 1) for each channel
    of each 8×8 patch; where a side is no multiple of 8, its ⌈side / 8⌉ values are spread evenly over it, such as over
    patches of 7 pixels for 28. The original normalises over the batch; here each image is normalised by itself, so that
    an image's pixels don't depend on its neighbours. The program is meant for the canvas `resize`; on other canvases f
    reads frame and window separately, so that the frame stays the same for the whole batch.
    """

    def __init__(self, config: DenseProgram.Config, *, geometry: Geometry) -> None:
        super().__init__(config, geometry=geometry)
        with seeded(None):  # `initialize` draws the weights anew.
            self.mask = _mask_net(geometry.channels)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw W ~ N(0, init²) and the network's weights ~ N(0, 2 / fan-in), and set its biases to 0."""
        super().initialize(generator)
        with torch.no_grad():
            for layer in self.mask:
                if isinstance(layer, nn.Conv2d):
                    # √(2 / fan-in)
                    deviation = (2 / layer.weight[0].numel()) ** 0.5
                    layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * deviation)
                    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def run(self, framed: Framed) -> Framed:
        """Add the masked pattern to frame and window."""
        # tanh(W) / 2, 1 x C x H x W, and its part inside the window
        drawn = torch.tanh(self.weight) / 2
        inside = drawn[..., framed.box.rows, framed.box.columns]
        return replace(
            framed,
            frame=framed.frame + self._masks(framed.frame) * drawn,
            window=framed.window + self._masks(framed.window) * inside,
        )

    def _masks(self, images: Tensor) -> Tensor:
        """The masks f(images): b × C × h × w values in (0, 1), equal within each patch."""
        return F.interpolate(self.mask(images), size=images.shape[2:], mode="nearest")


def _mask_net(channels: int) -> nn.Sequential:
    """The layers of f, which give one value per channel and patch: b × C × ⌈h / 8⌉ × ⌈w / 8⌉."""
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise((channels, *CHANNELS))):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(1, outputs), nn.ReLU()]
        if 2**i < PATCH:
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
    return nn.Sequential(*layers, nn.Conv2d(CHANNELS[-1], channels, 3, padding=1), nn.Sigmoid())
