"""The frame program on a given number of pixels, whose places are learned too."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from reprogram.framed import Framed, Geometry
from reprogram.programs._pixels import PixelProgram
from reprogram.programs.base import require_pixels


class Sparse(PixelProgram):
    """P = m ⊙ tanh(W) / 2, where m is 1 on the N pixels of the frame that score highest.

    The scores are learned with W. In each call exactly N pixels are drawn; the gradient passes straight through the
    choice, so that the score of a pixel that isn't drawn rises where the pixel would help (as `OptimProgram` of
    Fairness-Reprogramming; the paper's experiment on the program's size with the best choice of pixels).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(PixelProgram.Config):
        """Options.

        Attributes:
            init: standard deviation of the normal distribution that W starts from. It is larger than that of other
                programs: at W = 0 no pixel's score has a gradient.
        """

        init: float = 0.5

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        require_pixels("sparse", config.pixels, geometry)
        super().__init__(config, geometry=geometry)
        self.scores = nn.Parameter(torch.zeros(1, 1, geometry.height, geometry.width))
        self.register_buffer("mask", geometry.mask(), persistent=False)
        self.mask: Tensor

    def initialize(self, generator: torch.Generator) -> None:
        """Draw W ~ N(0, init²) and scores ~ N(0, 0.01²), and set both to 0 inside the window."""
        super().initialize(generator)
        with torch.no_grad():
            self.scores.copy_(torch.randn(self.scores.shape, generator=generator) * 0.01)
            self.weight.mul_(self.mask)
            self.scores.mul_(self.mask)

    def run(self, framed: Framed) -> Framed:
        """Add P to the frame."""
        # X̃ + m ⊙ tanh(W) / 2, 1 x C x H x W
        return replace(framed, frame=framed.frame + self.choice() * torch.tanh(self.weight) / 2)

    def choice(self) -> Tensor:
        """The mask m, 1 × 1 × H × W of zeros and ones; its gradient goes to the scores."""
        scores = self.scores.detach().masked_fill(self.mask == 0, -torch.inf)
        best = scores.flatten().topk(self.config.pixels).indices
        hard = torch.zeros_like(scores).flatten().index_fill(0, best, 1).view_as(scores)
        # m + scores - scores: the value of m, the gradient of the scores
        return hard + (self.scores - self.scores.detach()) * self.mask
