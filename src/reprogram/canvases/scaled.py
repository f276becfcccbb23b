"""The task image in the centre, at a share of the host's input instead of a size in pixels."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from reprogram.canvases.base import Canvas, centred, resized, scaled
from reprogram.errors import ConfigError
from reprogram.framed import Box
from reprogram.registry import later


class Scaled(Canvas):
    """The task image in the centre, resized (bilinear, antialiased) to a share of the host's input.

    A host sees more of a larger image, and the engine has less to share: results/window has both.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Canvas.Config):
        """Options.

        Attributes:
            share: of the input's shorter side that the image's longer side takes, in (0, 1).
        """

        share: float = later(0.5)

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 < self.share < 1:
                raise ConfigError(f"share={self.share}; a number between 0 and 1 is expected")

    def window_box(self) -> Box:
        """The centre."""
        size = max(1, round(self.config.share * min(self.host_shape[1:])))
        return centred(scaled(self.image_shape[1:], size), self.host_shape[1:])

    def arrange(self, images: Float[Tensor, "b C h w"]) -> Float[Tensor, "b C h2 w2"]:
        """Resize to the window."""
        return resized(images, (self.geometry.window.height, self.geometry.window.width))
