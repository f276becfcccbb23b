"""Each image is shrunk by a random factor and put at a random place."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from reprogram.defences.base import InputDefence, straight_through
from reprogram.errors import ConfigError
from reprogram.framed import BACKGROUND
from reprogram.utils.seeding import Draws


class RandomPadding(InputDefence):
    """Shrinks each image to a random size from `smallest` to 1 of its own, and pads it with grey at a random place.

    What is drawn is new for each answer. The published defence enlarges the canvas instead; here it keeps the host's
    size. Who knows it takes the mean of the loss over several draws (the learner `eot`), or that of several answers
    (the host `averaged`).

    Reference: Xie et al., Mitigating Adversarial Effects Through Randomization, ICLR 2018, section 3.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            smallest: the least size, as a part of the image's, above 0, 1 at the most.
            seed: decides what is drawn.
        """

        smallest: float = 0.9
        seed: int = 0

        def __post_init__(self) -> None:
            if not 0 < self.smallest <= 1:
                raise ConfigError(f"smallest={self.smallest}; a part above 0, 1 at the most, is expected")

    def transform(self, images: Tensor, draws: Draws) -> Tensor:
        """Shrink and pad each image; those of one size together."""
        height, width = images.shape[2:]
        # b x 3 numbers in [0, 1): of the size, of the rows above and of the columns to the left
        chances = draws.rows(lambda generator: torch.rand(3, generator=generator))
        parts = self.config.smallest + chances[:, 0] * (1 - self.config.smallest)
        sizes = [(max(1, round(height * part)), max(1, round(width * part))) for part in parts.tolist()]
        pixels = images.to(torch.promote_types(images.dtype, torch.float32))  # CPUs resize no float16.
        padded: list[Tensor] = [pixels[0]] * len(images)
        for h, w in dict.fromkeys(sizes):
            rows = [row for row, size in enumerate(sizes) if size == (h, w)]
            shrunk = F.interpolate(pixels[rows], (h, w), mode="bilinear", antialias=True, align_corners=False)
            # Rounding alone leaves [0, 1]: a limit with a gradient of 0 there would hold back the pixels at its ends.
            for row, image in zip(rows, straight_through(shrunk.clamp(0, 1), shrunk), strict=True):
                # Each place has the same chance: 0 to H - h rows above, 0 to W - w columns to the left.
                top, left = int(chances[row, 1] * (height - h + 1)), int(chances[row, 2] * (width - w + 1))
                padded[row] = F.pad(image, (left, width - w - left, top, height - h - top), value=BACKGROUND)
        return torch.stack(padded).to(images)
