"""A learned frame around the task image: the program of the 2018 paper."""

from dataclasses import replace

import torch

from reprogram.framed import Framed, Geometry
from reprogram.programs.base import DenseProgram, require_frame


class Frame(DenseProgram):
    """P = tanh(W ⊙ M), X_adv = X̃ + P (paper, equations 1 and 2).

    W has the host's input shape and M is 0 where the task image sits, so the task image isn't touched. The paper's
    images lie in [-1, 1], ours in [0, 1]: a pixel of the frame is background + P / 2, on the mid-grey background (1 +
    tanh W) / 2.
    """

    confined = True

    def __init__(self, config: DenseProgram.Config, *, geometry: Geometry) -> None:
        require_frame("frame", geometry)
        super().__init__(config, geometry=geometry)
        self.register_buffer("mask", geometry.mask(), persistent=False)
        self.mask: torch.Tensor

    def initialize(self, generator: torch.Generator) -> None:
        """Draw W ~ N(0, init²), and set it to 0 inside the window, where it has no effect."""
        super().initialize(generator)
        with torch.no_grad():
            self.weight.mul_(self.mask)

    def run(self, framed: Framed) -> Framed:
        """Add P to the frame."""
        # X̃ + tanh(W ⊙ M) / 2, 1 x C x H x W
        return replace(framed, frame=framed.frame + torch.tanh(self.weight * self.mask) / 2)
