"""Programs that look different on every image, as somebody makes them who knows that queries are compared."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reprogram.errors import ConfigError
from reprogram.framed import Box, Framed, Geometry
from reprogram.programs.base import DenseProgram, require_frame


class VariedProgram(DenseProgram):
    """A frame that is drawn anew for every image. An author writes `look`.

    What varies is drawn from random numbers whose seed is a digest of the task image: the same image gets the same
    frame, alone or in a batch, today or in a continued run. Images of a batch then share nothing, and the host runs
    whole on each. In training mode, while gradients are taken, all images of a microbatch get the draw of the first one
    (`shared`), so that learning stays fast; it averages over the draws from step to step (expectation over
    transformation).

    Reference: Athalye, Engstrom, Ilyas and Kwok, Synthesizing Robust Adversarial Examples, ICML 2018, section 2.
    """

    moves = varies = True

    @dataclass(frozen=True, kw_only=True)
    class Config(DenseProgram.Config):
        """Options of every program that varies.

        Attributes:
            shared: whether a microbatch has one draw while the program is learned.
            seed: goes into every draw.
        """

        shared: bool = True
        seed: int = 0

    def __init__(self, config: Config, *, geometry: Geometry, shape: tuple[int, ...] | None = None) -> None:
        require_frame(self.name(), geometry)
        super().__init__(config, geometry=geometry, shape=shape)

    def look(self, framed: Framed, generator: torch.Generator) -> Framed:
        """The program on some images, in one of its looks.

        Args:
            framed: canvas pixels in [0, 1].
            generator: decides the look, on the CPU.

        Returns:
            As many images, on a canvas of the same size; the window may have moved.
        """
        raise NotImplementedError

    def run(self, framed: Framed) -> Framed:
        """Draw the program in a look of its own on each image, or on the whole microbatch."""
        whole = Box(top=0, left=0, height=framed.frame.shape[2], width=framed.frame.shape[3])
        if not len(framed.window):
            return Framed(frame=framed.frame, window=framed.frame.expand(0, -1, -1, -1), box=whole)
        if self.config.shared and self.training and torch.is_grad_enabled():
            return self.look(framed, next(self._generators(framed.window[:1])))
        looks = [
            self.look(replace(framed, window=framed.window[i : i + 1]), generator).dense()
            for i, generator in enumerate(self._generators(framed.window))
        ]
        return Framed(frame=framed.frame, window=torch.cat(looks), box=whole)

    def _generators(self, window: Tensor) -> Iterator[torch.Generator]:
        """Random numbers that an image's pixels, in whole levels, decide."""
        levels = (window.detach() * 255).round().to(torch.uint8).cpu().numpy()
        for image in levels:
            digest = zlib.crc32(np.ascontiguousarray(image).data)
            yield torch.Generator().manual_seed(self.config.seed * 2**20 + digest)


def check_moves(name: str, pixels: int, geometry: Geometry) -> None:
    """Refuse moves that would push the task image over the canvas's edge.

    Args:
        name: the program's, for errors.
        pixels: the farthest move in each direction.
        geometry: the canvas and the window's place in it.

    Raises:
        ConfigError: there is less room.
    """
    require_frame(name, geometry)
    window = geometry.window
    below, beside = geometry.height - window.rows.stop, geometry.width - window.columns.stop
    room = min(window.top, window.left, below, beside)
    if not 1 <= pixels <= room:
        raise ConfigError(f"{name}: pixels={pixels}; the task image can move by 1 to {room} pixels on this canvas")


def check_amplitude(name: str, value: float) -> None:
    """Refuse an amplitude of noise that makes no sense.

    Args:
        name: the option's.
        value: the amplitude, in [0, 1] pixel units.

    Raises:
        ConfigError: it is out of range.
    """
    if not 0 <= value <= 1:
        raise ConfigError(f"{name}={value}; from 0 to 1 is expected, in pixels of [0, 1]: 8/255 is 0.0314")


def moved(framed: Framed, pattern: Tensor, pixels: int, generator: torch.Generator) -> Framed:
    """Pattern and task image, moved together by a random number of pixels up or down, and left or right.

    Args:
        framed: canvas pixels in [0, 1].
        pattern: is added to the canvas, 1 × C × (H + 2 · pixels) × (W + 2 · pixels).
        pixels: the farthest move.
        generator: decides the move, on the CPU.
    """
    down, right = torch.randint(0, 2 * pixels + 1, (2,), generator=generator).tolist()
    height, width = framed.frame.shape[2:]
    large = F.pad(framed.frame, (pixels,) * 4, mode="replicate") + pattern
    box = replace(framed.box, top=framed.box.top + pixels - down, left=framed.box.left + pixels - right)
    return replace(framed, frame=large[..., down : down + height, right : right + width], box=box)


def noise_like(frame: Tensor, amplitude: float, cell: int, generator: torch.Generator) -> Tensor:
    """Uniform noise of the frame's shape, from -amplitude to amplitude, equal within square cells.

    Args:
        frame: 1 × C × H × W.
        amplitude: in [0, 1] pixel units.
        cell: pixels of a cell's side.
        generator: on the CPU.
    """
    _, channels, height, width = frame.shape
    values = torch.rand(1, channels, -(-height // cell), -(-width // cell), generator=generator)
    cells = (2 * values - 1).to(frame) * amplitude
    large = cells if cell == 1 else cells.repeat_interleave(cell, dim=2).repeat_interleave(cell, dim=3)
    return large[..., :height, :width]
