"""The task image at its own size in the centre of the canvas, as in the 2018 paper."""

from reprogram.canvases.base import Canvas, centred
from reprogram.framed import Box


class Centre(Canvas):
    """The task image in the centre, at its own size (paper, section 3.1)."""

    def window_box(self) -> Box:
        """The centre."""
        return centred(self.image_shape[1:], self.host_shape[1:])
