"""The task image resized to fill the whole canvas."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from reprogram.canvases.base import Canvas
from reprogram.framed import Box


class Resize(Canvas):
    """The task image stretched over the whole canvas (bilinear, antialiased); programs such as `full` add to it."""

    def window_box(self) -> Box:
        """The whole canvas."""
        return Box(top=0, left=0, height=self.host_shape[1], width=self.host_shape[2])

    def arrange(self, images: Float[Tensor, "b C h w"]) -> Float[Tensor, "b C h2 w2"]:
        """Resize to the host's input size."""
        resized = F.interpolate(images, size=self.host_shape[1:], mode="bilinear", antialias=True, align_corners=False)
        return resized.clamp(0, 1)
