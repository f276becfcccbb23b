"""The frame program on a given number of pixels, whose places are learned too."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from reprogram.framed import Framed, Geometry
from reprogram.programs.base import Weighted, check_pixels, require_pixels


class Sparse(Weighted):
    """P = m ⊙ tanh(W) / 2, where m is 1 on the N pixels of the frame that score highest.

    The scores are learned with W. In each call exactly N pixels are drawn; the gradient passes straight through the
    choice, so that a pixel that isn't drawn rises where it would help (as `OptimProgram` of Fairness-Reprogramming;
    the paper's experiment on the program's size with the best choice of places).
    """

    confined = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Weighted.Config):
        """Options.

        Attributes:
            pixels: N, how many; all channels of a pixel count as one.
            init: standard deviation of the normal distribution that W starts from. Larger than elsewhere: from W = 0
                no pixel could tell whether it would help.
        """

        pixels: int = 1000
        init: float = 0.5

        def __post_init__(self) -> None:
            super().__post_init__()
            check_pixels(self.pixels)

    @classmethod
    def example(cls) -> Config:
        """Pixels that small canvases have."""
        return cls.Config(pixels=300)

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        require_pixels("sparse", config.pixels, geometry)
        super().__init__(config, geometry=geometry)
        self.scores = nn.Parameter(torch.zeros(1, 1, geometry.height, geometry.width))
        self.register_buffer("mask", geometry.mask(), persistent=False)
        self.mask: Tensor

    def initialize(self, generator: torch.Generator) -> None:
        """W ~ N(0, init²), scores ~ N(0, 0.01²); 0 inside the window."""
        super().initialize(generator)
        with torch.no_grad():
            self.scores.copy_(torch.randn(self.scores.shape, generator=generator) * 0.01)
            self.weight.mul_(self.mask)
            self.scores.mul_(self.mask)

    def run(self, framed: Framed) -> Framed:
        """Add P to the frame."""
        return replace(framed, frame=framed.frame + self.choice() * torch.tanh(self.weight) / 2)

    def choice(self) -> Tensor:
        """m, 1 × 1 × H × W of zeros and ones; its gradient goes to the scores."""
        scores = self.scores.detach().masked_fill(self.mask == 0, -torch.inf)
        best = scores.flatten().topk(self.config.pixels).indices
        hard = torch.zeros_like(scores).flatten().index_fill(0, best, 1).view_as(scores)
        return hard + (self.scores - self.scores.detach()) * self.mask
