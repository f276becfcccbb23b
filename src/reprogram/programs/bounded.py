"""A program that changes no pixel by more than a given amount: the 2018 paper's limited amplitude."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reprogram.framed import Framed, Geometry
from reprogram.programs.base import DenseProgram, check_eps, require_frame
from reprogram.utils.quantize import eps_bounds


class Bounded(DenseProgram):
    """P = eps · tanh(W), so |X_adv − X̃| ≤ eps everywhere (the paper's experiment on the program's amplitude).

    eps counts in [0, 1] pixels, half of its value in the paper's [-1, 1]. With `round_8bit` P reaches from the lowest
    to the highest of the 256 levels that lie within eps, so the bound holds for the rounded picture as well. On a pixel
    that is one of the levels itself, eps is in effect rounded down to whole levels; on the mid-grey background, which
    lies half-way between two levels, to half a level and whole ones.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(DenseProgram.Config):
        """Options.

        Attributes:
            eps: the largest change of a pixel, in (0, 1]; 8 of 255 levels are 0.0314.
            window: change the task image too, within the same bound. Otherwise only the frame is changed.
        """

        eps: float = 0.1
        window: bool = False

        def __post_init__(self) -> None:
            super().__post_init__()
            check_eps(self.eps, whole=self.round_8bit)

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        if not config.window:
            require_frame("bounded", geometry)
        super().__init__(config, geometry=geometry)
        self.confined = not config.window

    def initialize(self, generator: torch.Generator) -> None:
        """Draw W ~ N(0, init²), and set it to 0 where it has no effect."""
        super().initialize(generator)
        if self.confined:
            with torch.no_grad():
                self.weight.mul_(self.geometry.mask())

    def run(self, framed: Framed) -> Framed:
        """Add P to the frame, and to the window where the option `window` is set."""
        drawn = replace(framed, frame=self._near(framed.frame, self.weight))
        if self.confined:
            return drawn
        return replace(drawn, window=self._near(framed.window, self.weight[..., framed.box.rows, framed.box.columns]))

    def _near(self, pixels: Tensor, weight: Tensor) -> Tensor:
        # middle of the allowed range + half of its width · tanh(W); without rounding, x + eps · tanh(W)
        low, high = eps_bounds(pixels, self.config.eps, whole=self.config.round_8bit)
        return (low + high) / 2 + (high - low) / 2 * torch.tanh(weight)
