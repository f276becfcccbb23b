"""A prompt for the whole image that depends on it: a frozen encoder, a small learned decoder and a trigger."""

import functools
import hashlib
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.errors import ConfigError
from reprogram.framed import Framed, Geometry
from reprogram.programs._subspace import cosine_basis
from reprogram.programs.base import Program, check_eps
from reprogram.utils.efficientnet_lite0 import pretrained
from reprogram.utils.seeding import seeded

Encoder = Literal["efficientnet-lite0", "cosine"]

MAPS = 32
"""The maps that the decoder begins with; it makes each of their pixels 32 × 32 pixels large."""

SIDE = 7
"""The pixels of a map's side on canvases of 224 pixels and more: 7 · 7 · 32 numbers, as the authors have them."""

FEATURES = 1280
"""The pooled features of EfficientNet-Lite0."""

MAX_CODES = 16_384
"""The most images whose codes are kept: 84 MB of EfficientNet-Lite0's."""


class Coordinator(Program):
    """X_adv = clip(X̃ + ε h(z(X̃), φ)), with a frozen encoder z, a learned trigger φ and a learned decoder h.

    The decoder turns 1,568 numbers, as 32 maps of 7 × 7 pixels, into an image by five transposed convolutions: 9,120
    learned numbers, and the trigger. On smaller canvases the cosine encoder has smaller maps and fewer numbers.

    The authors' encoder is a ViT-B of a masked autoencoder. Here it is EfficientNet-Lite0, the one network that is at
    hand without a download, or a cosine transform without any network: the principal components of photographs are
    nearly cosine waves, and the authors' later BlackVIP-SE encodes by principal components. Each image is normalised by
    itself where the authors normalise over the batch, so that an image's prompt doesn't depend on its neighbours. The
    program is meant for the canvas `resize`; on other canvases it reads frame and window separately, so that the frame
    stays the same for the whole batch.

    Reference: Oh et al., BlackVIP: Black-Box Visual Prompting for Robust Transfer Learning, CVPR 2023, section 4.1;
    BlackVIP-SE: Oh et al., arXiv 2407.17491.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Program.Config):
        """Options.

        Attributes:
            encoder: `efficientnet-lite0`, its 1,280 pooled features; or `cosine`, the lowest 16 × 16 cosine
                coefficients of each channel: the 768 numbers of the authors' encoder.
            eps: ε, the prompt's strength, in (0, 1]; the authors choose it for each task, from 0.2 to 1.
        """

        encoder: Encoder = "efficientnet-lite0"
        eps: float = 1.0

        def __post_init__(self) -> None:
            check_eps(self.eps, whole=self.round_8bit)

    @classmethod
    def example(cls) -> Any:
        """Without a network."""
        return cls.Config(encoder="cosine")

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        if geometry.channels not in (1, 3):
            raise ConfigError(f"coordinator: its encoder sees 1 or 3 channels; the host has {geometry.channels}")
        super().__init__(config, geometry=geometry)
        self.side, numbers = SIDE, FEATURES
        if config.encoder == "cosine":
            self.side = min(SIDE, -(-max(geometry.height, geometry.width) // 32))
            # About half of the decoder's numbers: 3 · N²
            self.frequencies = int((MAPS * self.side**2 / 6) ** 0.5)
            numbers = 3 * self.frequencies**2
        self.trigger = nn.Parameter(torch.zeros(MAPS * self.side**2 - numbers))
        with seeded(None):  # `initialize` draws the weights anew.
            self.decoder = _decoder(geometry.channels)
        self.register_buffer("mask", geometry.mask(), persistent=False)
        self.mask: Tensor
        self._codes: dict[bytes, Tensor] = {}

    def initialize(self, generator: torch.Generator) -> None:
        """Draw the trigger from [0, 0.1], and the decoder's weights as PyTorch does, ±1 / √fan-in."""
        with torch.no_grad():
            self.trigger.copy_(torch.rand(self.trigger.shape, generator=generator) / 10)
            for layer in self.decoder:
                if isinstance(layer, nn.ConvTranspose2d):
                    bound = layer.weight[0].numel() ** -0.5
                    for parameter in layer.parameters():
                        drawn = torch.rand(parameter.shape, generator=generator)
                        parameter.copy_((2 * drawn - 1) * bound)

    def run(self, framed: Framed) -> Framed:
        """Add each image's prompt to it; frame and window are images of their own."""
        # ε h, b x C x h x w
        window = framed.window + self.config.eps * self._prompts(framed.window)
        box, shape = framed.box, framed.frame.shape[2:]
        if (box.height, box.width) == tuple(shape):  # No pixel of the frame is left.
            return replace(framed, window=window)
        frame = framed.frame + self.config.eps * self._prompts(framed.frame * self.mask)
        return replace(framed, frame=frame, window=window)

    def _prompts(self, images: Tensor) -> Tensor:
        """The prompts of images, b × C × h × w: decoded at their own size or another, and then resized."""
        codes = self._encoded(images)
        # b x (code, trigger) as b x 32 x side x side
        source = torch.cat([codes, self.trigger.expand(codes.shape[0], -1)], dim=1).view(-1, MAPS, self.side, self.side)
        prompts: Tensor = self.decoder(source)
        if prompts.shape[2:] != images.shape[2:]:
            prompts = F.interpolate(prompts, size=images.shape[2:], mode="bilinear", align_corners=False)
        return prompts

    @torch.no_grad()
    def _encoded(self, images: Tensor) -> Tensor:
        """The code of each image. Learners that only ask see the same images again and again: codes are kept."""
        if images.device.type != "cpu" or torch.compiler.is_compiling():
            return self._encode(images)
        key = hashlib.sha256(images.detach().numpy().tobytes()).digest()
        if key not in self._codes:
            if sum(map(len, self._codes.values())) + len(images) > MAX_CODES:
                self._codes.clear()
            with torch.inference_mode(False):  # What is kept is read in every mode.
                self._codes[key] = self._encode(images)
        return self._codes[key]

    def _encode(self, images: Tensor) -> Tensor:
        if self.config.encoder == "cosine":
            return _cosine_code(images, self.frequencies)
        rgb = images.expand(-1, 3, -1, -1).float()
        pixels = F.interpolate(rgb, size=(224, 224), mode="bilinear", align_corners=False, antialias=True)
        code: Tensor = _network(str(images.device))((pixels - 0.5) / 0.5)
        return code.to(images)


def _cosine_code(images: Tensor, frequencies: int) -> Tensor:
    """The lowest N × N cosine coefficients of each image, b × 3 N²: 0 where it has fewer; grey ones thrice."""
    height, width = images.shape[2:]
    rows, columns = (_basis(size, images.device, images.dtype)[:frequencies] / size**0.5 for size in (height, width))
    coefficients = rows @ images @ columns.T
    padding = (0, frequencies - coefficients.shape[3], 0, frequencies - coefficients.shape[2])
    return F.pad(coefficients, padding).expand(-1, 3, -1, -1).flatten(1)


@functools.cache
def _basis(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The cosine transform where the images are: a step that is recorded for a GPU copies nothing there."""
    return cosine_basis(size).to(device, dtype)


@functools.cache
def _network(device: str) -> Any:
    """EfficientNet-Lite0 without its last layer, frozen; one for all programs."""
    net = pretrained()
    net.reset_classifier(0)
    return net.eval().requires_grad_(False).to(device)


def _decoder(channels: int) -> nn.Sequential:
    """The authors' decoder: pairs of a grouped transposed convolution, which doubles the size, and a 1×1 one."""
    layers: list[nn.Module] = []
    for inputs, middle, outputs, groups in ((32, 64, 64, 32), (64, 64, 32, 64), (32, 32, 32, 32), (32, 32, 16, 32)):
        layers += [
            nn.ConvTranspose2d(inputs, middle, 2, stride=2, groups=groups),
            nn.ConvTranspose2d(middle, outputs, 1, bias=False),
            nn.GroupNorm(1, outputs),
            nn.GELU(),
        ]
    return nn.Sequential(*layers, nn.ConvTranspose2d(16, channels, 2, stride=2, bias=False))
