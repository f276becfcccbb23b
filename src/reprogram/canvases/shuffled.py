"""The task image in the centre, its pixels in one fixed random order (the paper's shuffled tasks)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.canvases.base import Canvas, centred, check_size, resized, scaled
from reprogram.framed import Box
from reprogram.registry import added_later
from reprogram.utils.seeding import permutation


class Shuffled(Canvas):
    """The centred task image with its pixels permuted, the same way in every image (the paper's shuffled tasks).

    An image that is resized is permuted afterwards, so the pixels of the window change places.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Canvas.Config):
        """Options.

        Attributes:
            seed: decides the permutation.
            size: the task image's longer side, in pixels; 0 for its own size.
        """

        seed: int = 0
        size: int = added_later(0)

        def __post_init__(self) -> None:
            super().__post_init__()
            check_size(self.size)

    def __init__(self, config: Config, *, image_shape: tuple[int, int, int], host_shape: tuple[int, int, int]) -> None:
        super().__init__(config, image_shape=image_shape, host_shape=host_shape)
        self._order: Tensor | None = None

    def window_box(self) -> Box:
        """A box in the centre of the canvas."""
        image = scaled(self.image_shape[1:], self.config.size)
        return centred(image, self.host_shape[1:], size=self.config.size)

    def arrange(self, images: Float[Tensor, "b C h w"]) -> Float[Tensor, "b C h2 w2"]:
        """Resize the images to the window and permute their pixels; all channels of a pixel move together."""
        images = resized(images, (self.geometry.window.height, self.geometry.window.width))
        # b x C x (h2 · w2), pixel i taken from order[i]
        return images.flatten(2).index_select(2, self.order(images.device)).view_as(images)

    def order(self, device: torch.device | None = None) -> Tensor:
        """The permutation of the window's pixels, drawn when it is first needed.

        Args:
            device: the device of the result; the CPU by default.

        Returns:
            h2 · w2 indices y · w2 + x of pixels, int64.
        """
        with torch.inference_mode(False):  # The tensor is kept, and a later gradient may need it.
            if self._order is None:
                self._order = permutation(self.geometry.window.height * self.geometry.window.width, self.config.seed)
            self._order = self._order.to(device)
        return self._order
