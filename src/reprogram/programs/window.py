"""A learned image over the task image alone."""

from dataclasses import replace

import torch

from reprogram.framed import Framed, Geometry
from reprogram.programs.base import DenseProgram


class Window(DenseProgram):
    """X_adv = clip(X̃ + tanh(W) / 2) inside the window; the frame stays mid-grey.

    The opposite of `frame`: how far does one get by changing the task image alone?
    """

    def __init__(self, config: DenseProgram.Config, *, geometry: Geometry) -> None:
        window = geometry.window
        super().__init__(config, geometry=geometry, shape=(1, geometry.channels, window.height, window.width))

    def run(self, framed: Framed) -> Framed:
        """Add P to the window."""
        # X̃ + tanh(W) / 2, b x C x h x w
        return replace(framed, window=framed.window + torch.tanh(self.weight) / 2)
