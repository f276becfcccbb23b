"""A learned factor for each pixel of the canvas."""

from dataclasses import replace

import torch

from reprogram.framed import Framed
from reprogram.programs.base import DenseProgram


class Multiplicative(DenseProgram):
    """X_adv = clip(X̃ ⊙ (1 + tanh W)): factors from 0 to 2 on [0, 1] pixels.

    On the mid-grey background this is `frame`; on the task image the program is a mask that darkens and brightens, and
    black stays black. (rajatvd's re-implementation of the paper multiplies, too.)
    """

    def run(self, framed: Framed) -> Framed:
        """Multiply frame and window by the factors."""
        # 1 + tanh W, 1 x C x H x W
        factors = 1 + torch.tanh(self.weight)
        inside = factors[..., framed.box.rows, framed.box.columns]
        return replace(framed, frame=framed.frame * factors, window=framed.window * inside)
