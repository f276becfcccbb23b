"""`Framed`: a batch of images that are equal outside a window.

This is the one value that flows from the canvas through the program to the host. What the whole batch shares is held
once, so that a host that can (see `reprogram.engine`) computes it once.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reprogram.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle of pixels: its upper left corner and its size."""

    top: int
    left: int
    height: int
    width: int

    @property
    def rows(self) -> slice:
        """The rows that the rectangle covers."""
        return slice(self.top, self.top + self.height)

    @property
    def columns(self) -> slice:
        """The columns that the rectangle covers."""
        return slice(self.left, self.left + self.width)

    def within(self, height: int, width: int) -> bool:
        """Whether the rectangle lies in an image, and isn't empty.

        Args:
            height: of the image, in pixels.
            width: of the image, in pixels.
        """
        return (
            min(self.top, self.left) >= 0
            and min(self.height, self.width) > 0
            and self.top + self.height <= height
            and self.left + self.width <= width
        )

    def relative_to(self, origin: "Box") -> "Box":
        """The same rectangle, counted from the corner of another.

        Args:
            origin: the rectangle whose upper left corner becomes (0, 0).
        """
        return Box(top=self.top - origin.top, left=self.left - origin.left, height=self.height, width=self.width)

    def intersection(self, other: "Box") -> "Box | None":
        """The rectangle that both cover; None where they don't overlap.

        Args:
            other: a rectangle of the same image.
        """
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom = min(self.rows.stop, other.rows.stop)
        right = min(self.columns.stop, other.columns.stop)
        if bottom <= top or right <= left:
            return None
        return Box(top=top, left=left, height=bottom - top, width=right - left)


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The host's canvas and where the task image sits in it.

    Attributes:
        channels: C.
        height: H in pixels.
        width: W in pixels.
        window: the rectangle of the canvas that the task image fills.
    """

    channels: int
    height: int
    width: int
    window: Box

    def __post_init__(self) -> None:
        if not self.window.within(self.height, self.width):
            raise ConfigError(
                f"a window of {self.window.height}x{self.window.width} pixels "
                f"at ({self.window.top}, {self.window.left}) "
                f"doesn't fit a canvas of {self.height}x{self.width}; use a larger host or the canvas 'resize'"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W of the canvas."""
        return self.channels, self.height, self.width

    def mask(self) -> Float[Tensor, "1 1 H W"]:
        """The paper's M: 1 where the program lives, 0 where the task image sits."""
        mask = torch.ones(1, 1, self.height, self.width)
        mask[..., self.window.rows, self.window.columns] = 0
        return mask


@dataclass(frozen=True, kw_only=True)
class Framed:
    """A batch of images, equal outside a window.

    Attributes:
        frame: 1 × C × H × W pixels in [0, 1]; the pixels inside the window don't count.
        window: b × C × h × w pixels in [0, 1].
        box: the rectangle of the frame that the window covers.
    """

    frame: Float[Tensor, "1 C H W"]
    window: Float[Tensor, "b C h w"]
    box: Box

    def __post_init__(self) -> None:
        assert self.frame.shape[0] == 1 and self.frame.shape[1] == self.window.shape[1]
        assert self.window.shape[2:] == (self.box.height, self.box.width)

    def __len__(self) -> int:
        return self.window.shape[0]

    @property
    def geometry(self) -> Geometry:
        """The batch's shapes, without its pixels."""
        _, channels, height, width = self.frame.shape
        return Geometry(channels=channels, height=height, width=width, window=self.box)

    def dense(self) -> Float[Tensor, "b C H W"]:
        """The batch as b × C × H × W whole images."""
        images = self.frame.repeat(len(self), 1, 1, 1)
        images[..., self.box.rows, self.box.columns] = self.window
        return images


BACKGROUND = 0.5
"""Pixel value around the task image: the zero of the paper's [-1, 1] images, mid-grey in [0, 1] pixels."""
