"""A learned image over the whole canvas, added to the task image too."""

from dataclasses import replace

import torch

from reprogram.framed import Framed
from reprogram.programs.base import DenseProgram


class Full(DenseProgram):
    """P = tanh(W) everywhere, X_adv = clip(X̃ + P): the "watermark" of visual prompting (Bahng et al., 2022).

    As in `frame`, P of the paper's [-1, 1] units is halved for [0, 1] pixels. With the canvas `resize` the task image
    fills the canvas and the program is added to all of it.
    """

    def run(self, framed: Framed) -> Framed:
        """Add P to frame and window."""
        # P = tanh(W) / 2, 1 x C x H x W, and its part inside the window
        drawn = torch.tanh(self.weight) / 2
        inside = drawn[..., framed.box.rows, framed.box.columns]
        return replace(framed, frame=framed.frame + drawn, window=framed.window + inside)
