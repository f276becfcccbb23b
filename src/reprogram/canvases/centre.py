"""The task image in the centre of the canvas, at its own size as in the 2018 paper or at another."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from reprogram.canvases.base import Canvas, centred, check_size, resized, scaled
from reprogram.framed import Box
from reprogram.registry import added_later


class Centre(Canvas):
    """The task image in the centre, at its own size (paper, Methods) or resized (bilinear, antialiased).

    The window's size trades accuracy for speed: the larger, the more of the host runs for each image.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Canvas.Config):
        """Options.

        Attributes:
            size: the task image's longer side, in pixels; 0 for its own size.
        """

        size: int = added_later(0)

        def __post_init__(self) -> None:
            super().__post_init__()
            check_size(self.size)

    def window_box(self) -> Box:
        """A box in the centre of the canvas."""
        image = scaled(self.image_shape[1:], self.config.size)
        return centred(image, self.host_shape[1:], size=self.config.size)

    def arrange(self, images: Float[Tensor, "b C h w"]) -> Float[Tensor, "b C h2 w2"]:
        """Resize the images to the window."""
        return resized(images, (self.geometry.window.height, self.geometry.window.width))
