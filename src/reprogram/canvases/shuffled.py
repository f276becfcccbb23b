"""The task image in the centre, its pixels in one fixed random order (the paper's shuffled tasks)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.canvases.base import Canvas, centred
from reprogram.framed import Box


class Shuffled(Canvas):
    """The centred task image with its pixels permuted, the same way in every image (paper, section 4.4)."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Canvas.Config):
        """Options.

        Attributes:
            seed: chooses the permutation.
        """

        seed: int = 0

    def __init__(self, config: Config, *, image_shape: tuple[int, int, int], host_shape: tuple[int, int, int]) -> None:
        super().__init__(config, image_shape=image_shape, host_shape=host_shape)
        generator = torch.Generator().manual_seed(config.seed)
        order = torch.randperm(image_shape[1] * image_shape[2], generator=generator)
        self.register_buffer("order", order, persistent=False)
        self.order: Tensor

    def window_box(self) -> Box:
        """The centre."""
        return centred(self.image_shape[1:], self.host_shape[1:])

    def arrange(self, images: Float[Tensor, "b C h w"]) -> Float[Tensor, "b C h w"]:
        """Permute the pixels; all channels of a pixel move together."""
        return images.flatten(2)[..., self.order].view_as(images)
