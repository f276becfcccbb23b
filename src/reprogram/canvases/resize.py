"""The task image resized to fill the whole canvas."""

from jaxtyping import Float
from torch import Tensor

from reprogram.canvases.base import Canvas, resized
from reprogram.framed import Box


class Resize(Canvas):
    """The task image stretched over the whole canvas (bilinear, antialiased); programs such as `full` add to it."""

    def window_box(self) -> Box:
        """The whole canvas."""
        return Box(top=0, left=0, height=self.host_shape[1], width=self.host_shape[2])

    def arrange(self, images: Float[Tensor, "b C h w"]) -> Float[Tensor, "b C h2 w2"]:
        """Resize the images to the host's input size."""
        return resized(images, self.host_shape[1:])
