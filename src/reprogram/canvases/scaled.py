"""The task image in the centre, at a share of the host's input instead of a size in pixels."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from reprogram.canvases.base import Canvas, centred, resized, scaled
from reprogram.errors import ConfigError
from reprogram.framed import Box
from reprogram.registry import added_later


class Scaled(Canvas):
    """The task image in the centre, resized (bilinear, antialiased) to a share of the host's input.

    A host sees more of a larger image, but the engine shares less of the work: results/window measures both.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Canvas.Config):
        """Options.

        Attributes:
            share: the image's longer side over the input's shorter side, in (0, 1).
        """

        share: float = added_later(0.5)

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 < self.share < 1:
                raise ConfigError(f"share={self.share}; a number between 0 and 1 is expected")

    def window_box(self) -> Box:
        """A box in the centre of the canvas."""
        size = max(1, round(self.config.share * min(self.host_shape[1:])))
        return centred(scaled(self.image_shape[1:], size), self.host_shape[1:])

    def arrange(self, images: Float[Tensor, "b C h w"]) -> Float[Tensor, "b C h2 w2"]:
        """Resize the images to the window."""
        return resized(images, (self.geometry.window.height, self.geometry.window.width))
