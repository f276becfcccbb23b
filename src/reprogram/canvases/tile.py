"""The task image again and again, over the whole canvas."""

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.canvases.base import Canvas, centred
from reprogram.framed import Box


class Tile(Canvas):
    """Copies of the task image side by side, one of them in the centre as `centre` places it, cut at the edges."""

    def window_box(self) -> Box:
        """The whole canvas, which holds the image at least once."""
        self.first = centred(self.image_shape[1:], self.host_shape[1:])
        return Box(top=0, left=0, height=self.host_shape[1], width=self.host_shape[2])

    def image_size(self) -> tuple[int, int]:
        """That of one copy."""
        return self.first.height, self.first.width

    def arrange(self, images: Float[Tensor, "b C h w"]) -> Float[Tensor, "b C h2 w2"]:
        """Repeat the image in both directions."""
        # Canvas row y shows image row (y - top) mod h; columns likewise.
        rows = (torch.arange(self.host_shape[1], device=images.device) - self.first.top) % self.first.height
        columns = (torch.arange(self.host_shape[2], device=images.device) - self.first.left) % self.first.width
        return images[..., rows[:, None], columns[None]]
