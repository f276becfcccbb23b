"""The contract of a program: it turns a `Framed` batch into the reprogrammed `Framed` batch."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from reprogram.errors import ConfigError
from reprogram.framed import Framed, Geometry
from reprogram.registry import Component
from reprogram.utils.contracts import Writes, breach
from reprogram.utils.quantize import floor_to_8bit, round_to_8bit
from reprogram.utils.tensor_cache import TensorCache


class Program(Component, nn.Module):
    """The learned input, P in the paper (Methods): one program for every image of the task.

    An author writes `run` (and `initialize`, where parameters don't start at zero). The call itself is final: it
    checks shapes, clips to valid pixels and, where asked, rounds to 8 bits. Without gradients, a confined program is
    drawn once and kept while its tensors stay the same: its frame depends on them and on the canvas's frame alone.

    Attributes:
        confined: whether the program changes nothing inside the window; declared by the variant, checked at each call.
        moves: whether the result's window may lie elsewhere, or cover the whole canvas because each image has a frame
            of its own; declared by the variant.
        varies: whether it looks different in each call, so that no recorded call can stand for another; declared by the
            variant.
        num_views: how many images of the host it makes of each task image; all first views of the batch come first.
        num_groups: how many columns a host label has in the scores of a task image: one, or one for each view.

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
    moves: bool = False
    varies: bool = False
    num_views: int = 1
    num_groups: int = 1

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        super().__init__()
        self.config = config
        self.geometry = geometry
        self._drawn = TensorCache()

    def run(self, framed: Framed) -> Framed:
        """Draw the program on a batch; the caller clips pixels outside [0, 1].

        Args:
            framed: canvas pixels in [0, 1].

        Returns:
            `num_views` times as many images, of the same geometry, or where it `moves`, on a canvas of the same size.
        """
        raise NotImplementedError

    def initialize(self, generator: torch.Generator) -> None:
        """Draw the start values of the parameters; by default they stay as built.

        Args:
            generator: the source of random numbers, on the CPU.
        """

    def forward(self, framed: Framed) -> Framed:
        """Reprogram a batch.

        Args:
            framed: canvas pixels in [0, 1].

        Returns:
            `num_views` times as many images on a canvas of the same size, pixels in [0, 1]; the window stays unless the
            program `moves`.

        Raises:
            ConfigError: the batch has another geometry than the program, or `run` doesn't do what it says.
        """
        if framed.geometry != self.geometry:
            one, other = framed.geometry, self.geometry
            raise ConfigError(f"a canvas of {one} for a program of {other}; build the program for it")
        if self.confined and not torch.is_grad_enabled():
            frame = self._drawn.get(
                lambda: self.draw(framed).frame, framed.frame, *self.buffers(), parameters=list(self.parameters())
            )
            return replace(framed, frame=frame)
        self._drawn.drop()
        return self.draw(framed)

    def combined(self, scores: Float[Tensor, "n K"]) -> Float[Tensor, "b m"]:
        """The host's scores of each task image, of those of its views.

        Args:
            scores: n × K host scores of b task images, n = `num_views` · b.

        Returns:
            b × K scores whose probabilities are the mean of the views', those that were given where there is one view.
            With a group for each view b × V · K scores, column v · K + j for label j in view v.
        """
        if self.num_views == 1:
            return scores
        views = scores.reshape(self.num_views, -1, scores.shape[1])
        if self.num_groups > 1:
            # V x b x K to b x V · K
            return views.transpose(0, 1).flatten(1)
        return _mean_answer(views)

    def host_answer(self, scores: Float[Tensor, "b m"]) -> Float[Tensor, "b K"]:
        """What the host itself says of each task image, in its own labels, whatever the label map reads.

        Args:
            scores: b × m scores as `combined` returns them.

        Returns:
            b × K scores: those that were given, or of groups those whose probabilities are the mean of the groups'.
        """
        if self.num_groups == 1:
            return scores
        # b x V · K to V x b x K
        views = scores.reshape(scores.shape[0], self.num_groups, scores.shape[1] // self.num_groups)
        return _mean_answer(views.transpose(0, 1))

    def draw(self, framed: Framed) -> Framed:
        """Draw the program and clip it, whatever was drawn before: all that `forward` computes.

        Args:
            framed: canvas pixels in [0, 1], of the program's geometry.

        Returns:
            As `forward` returns it.
        """
        written = Writes(framed.frame, framed.window)
        drawn = self.run(framed)
        if written:
            raise breach(self, "draws on the canvas in place; make new tensors")
        if not isinstance(drawn, Framed):
            raise breach(self, f"makes {'nothing' if drawn is None else type(drawn).__name__}; return a Framed")
        if drawn.window.shape[0] != self.num_views * framed.window.shape[0]:  # In a captured graph len is a constant.
            raise breach(self, f"doesn't make {self.num_views} of each image, which is its `num_views`")
        if drawn.geometry.shape != self.geometry.shape or not (self.moves or drawn.box == framed.box):
            raise breach(self, f"makes {drawn.geometry} of {framed.geometry}, but doesn't say `moves = True`")
        if self.confined and drawn.window is not framed.window:
            raise breach(self, "is `confined`, but doesn't hand on the very window that it was given")
        window = drawn.window if self.confined else self._valid(drawn.window)
        return replace(drawn, frame=self._valid(drawn.frame), window=window)

    def _valid(self, pixels: Tensor) -> Tensor:
        pixels = pixels.clamp(0, 1)
        return round_to_8bit(pixels) if self.config.round_8bit else pixels


def _mean_answer(views: Float[Tensor, "V b K"]) -> Float[Tensor, "b K"]:
    # log(1/V Σ_v softmax(s_v)) + 1/V Σ_v log Σ_j exp(s_vj), V x b x K to b x K
    means = views.log_softmax(dim=2).logsumexp(dim=0) - math.log(views.shape[0])
    return means + views.logsumexp(dim=2).mean(dim=0)[:, None]


class DenseProgram(Program):
    """A program with a tensor W of weights, which starts from normally distributed numbers.

    Args:
        config: the variant's `Config`, derived from `DenseProgram.Config`.
        geometry: the canvas and the window's place in it.
        shape: the shape of W; by default that of the canvas, 1 × C × height × width.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(Program.Config):
        """Options of every dense program.

        Attributes:
            init: standard deviation of the normal distribution that W starts from.
        """

        init: float = 0.05

        def __post_init__(self) -> None:
            check_init(self.init)

    def __init__(self, config: Config, *, geometry: Geometry, shape: tuple[int, ...] | None = None) -> None:
        super().__init__(config, geometry=geometry)
        zeros = np.zeros(shape or (1, *geometry.shape), dtype=np.float32)  # No memory until they are written.
        self.weight = nn.Parameter(torch.from_numpy(zeros).to(torch.get_default_device(), torch.get_default_dtype()))

    def initialize(self, generator: torch.Generator) -> None:
        """W ~ N(0, init²)."""
        with torch.no_grad():
            self.weight.copy_(torch.randn(self.weight.shape, generator=generator) * self.config.init)


def require_frame(name: str, geometry: Geometry) -> int:
    """Refuse a window that covers the whole canvas, for a program that draws on the frame alone.

    Args:
        name: the program's, for errors.
        geometry: the canvas and the window's place in it.

    Returns:
        The number of pixels of the frame.

    Raises:
        ConfigError: the frame has no pixels.
    """
    # H · W - h · w
    pixels = geometry.height * geometry.width - geometry.window.height * geometry.window.width
    if not pixels:
        raise ConfigError(
            f"{name}: the task image covers the whole canvas, nothing is left to learn; use the program 'full'"
        )
    return pixels


def check_box(top: int, left: int, height: int, width: int) -> None:
    """Refuse a box that is empty or starts outside the canvas.

    Args:
        top: first row, in pixels, at least 0.
        left: first column, in pixels, at least 0.
        height: in pixels, at least 1.
        width: in pixels, at least 1.

    Raises:
        ConfigError: a number is too small.
    """
    if min(top, left) < 0 or min(height, width) < 1:
        raise ConfigError(
            f"a box of {height}x{width} pixels at ({top}, {left}); sizes are at least 1, places at least 0"
        )


def check_init(init: float) -> None:
    """Refuse a standard deviation of start values that makes no sense.

    Args:
        init: the standard deviation, in [0, 100).

    Raises:
        ConfigError: it is out of range.
    """
    if not 0 <= init < 100:
        raise ConfigError(f"init={init}; a standard deviation in [0, 100) is expected")


def check_eps(eps: float, *, whole: bool) -> None:
    """Refuse a bound that isn't in (0, 1], or that is below one 8-bit level where pixels are rounded to levels.

    Args:
        eps: the bound, in [0, 1] pixel units.
        whole: whether pixels are rounded to 8 bits.

    Raises:
        ConfigError: the bound is out of range or too small.
    """
    if not 0 < eps <= 1:
        raise ConfigError(f"eps={eps}; a bound in (0, 1] is expected, in pixels of [0, 1]: 8/255 is 0.0314")
    if whole and not floor_to_8bit(eps):
        raise ConfigError(f"eps={eps} is less than one of 255 levels; give at least 0.00393")


def check_pixels(pixels: int) -> None:
    """Refuse a program of no pixels.

    Args:
        pixels: their number, at least 1.

    Raises:
        ConfigError: the number is less than 1.
    """
    if pixels < 1:
        raise ConfigError(f"pixels={pixels}; at least 1 is expected")


def require_pixels(name: str, pixels: int, geometry: Geometry) -> None:
    """Refuse more pixels than the frame has.

    Args:
        name: the program's, for errors.
        pixels: the number that the program needs.
        geometry: the canvas and the window's place in it.

    Raises:
        ConfigError: the frame has fewer; the message says how many.
    """
    have = require_frame(name, geometry)
    if pixels > have:
        raise ConfigError(f"{name}: pixels={pixels}, but the frame around the task image has {have}; give fewer")
