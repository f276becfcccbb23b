"""The contract of a program: a `Framed` batch in, the reprogrammed `Framed` batch out."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from reprogram.errors import ConfigError
from reprogram.framed import Framed, Geometry
from reprogram.registry import Component
from reprogram.unchanged import Kept


class Program(Component, nn.Module):
    """The learned input; P in the paper (section 3.1). One for every image of the task.

    An author writes `run` (and `initialize`, where parameters don't start at zero). The call itself is final: it
    checks shapes, clips to valid pixels and, where asked, rounds to 8 bits. Without gradients, a confined program is
    drawn once and kept while its tensors stay the same: what it draws depends on them and on the frame alone.

    Attributes:
        confined: whether the program changes nothing inside the window; declared by the variant, checked at each call.

    Args:
        config: the variant's `Config`, derived from `Program.Config`.
        geometry: the canvas and the window's place in it.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options of every program.

        Attributes:
            round_8bit: round what the program draws to multiples of 1/255, so that a saved PNG is the very same input.
        """

        round_8bit: bool = False

    confined: bool = False

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        super().__init__()
        self.config = config
        self.geometry = geometry
        self._drawn = Kept()

    def run(self, framed: Framed) -> Framed:
        """Draw the program. Pixels outside [0, 1] are clipped by the caller."""
        raise NotImplementedError

    def initialize(self, generator: torch.Generator) -> None:
        """Draw the start values of the parameters; by default they stay as built."""

    def forward(self, framed: Framed) -> Framed:
        """Reprogram a batch.

        Args:
            framed: canvas pixels in [0, 1].

        Returns:
            The same shapes and place, pixels in [0, 1].

        Raises:
            ConfigError: the batch has another geometry than the program.
        """
        if framed.geometry != self.geometry:
            raise ConfigError(
                f"a canvas of {framed.geometry} for a program of {self.geometry}; build the program for it"
            )
        if self.confined and not torch.is_grad_enabled():
            frame = self._drawn.get(
                lambda: self._run(framed).frame, framed.frame, *self.buffers(), parameters=list(self.parameters())
            )
            return replace(framed, frame=frame)
        self._drawn.drop()
        return self._run(framed)

    def _run(self, framed: Framed) -> Framed:
        drawn = self.run(framed)
        assert drawn.geometry == self.geometry, "a program keeps shapes and place"
        if self.confined:
            assert drawn.window is framed.window, "a confined program hands the window on untouched"
            return replace(drawn, frame=self._valid(drawn.frame))
        return replace(drawn, frame=self._valid(drawn.frame), window=self._valid(drawn.window))

    def _valid(self, pixels: Tensor) -> Tensor:
        pixels = pixels.clamp(0, 1)
        return round_to_8bit(pixels) if self.config.round_8bit else pixels


def round_to_8bit(pixels: Tensor) -> Tensor:
    """Round to multiples of 1/255; the gradient passes straight through."""
    return pixels + ((pixels.detach() * 255).round() / 255 - pixels.detach())


def check_box(top: int, left: int, height: int, width: int) -> None:
    """Refuse a box that is empty or starts outside.

    Raises:
        ConfigError: says so.
    """
    if min(top, left) < 0 or min(height, width) < 1:
        raise ConfigError(
            f"a box of {height}x{width} pixels at ({top}, {left}); sizes are at least 1, places at least 0"
        )


def check_init(init: float) -> None:
    """Refuse a standard deviation of start values that makes no sense.

    Raises:
        ConfigError: says so.
    """
    if not 0 <= init < 100:
        raise ConfigError(f"init={init}; a standard deviation in [0, 100) is expected")
