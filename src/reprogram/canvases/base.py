"""The contract of a canvas: it turns task images into `Framed` host inputs, and learns nothing."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.errors import ConfigError, DataError
from reprogram.framed import BACKGROUND, Box, Framed, Geometry
from reprogram.registry import Component, added_later, configure
from reprogram.utils.quantize import eps_bounds, round_to_8bit, within

LUMA = (0.299, 0.587, 0.114)
"""The weights of red, green and blue in grey (ITU-R BT.601)."""


class Canvas(Component, nn.Module):
    """Places a task image in the host's input. The result is X̃ in the paper (Methods).

    A variant implements `window_box` and, where it changes the image itself, `arrange`.

    Args:
        config: the variant's `Config`.
        image_shape: c, h, w of the task's images.
        host_shape: C, H, W of the host's input.

    Raises:
        ConfigError: the task image doesn't fit.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options of every canvas.

        Attributes:
            contrast: of the task image, in (0, 1]: its distance from the mid-grey background is multiplied by it, so
                that no pixel is further away than contrast / 2.
            round_8bit: round the task image to multiples of 1/255 within that distance, so that a saved PNG holds the
                very same pixels.
        """

        contrast: float = added_later(1.0)
        round_8bit: bool = added_later(False)

        def __post_init__(self) -> None:
            if not 0 < self.contrast <= 1:
                raise ConfigError(f"contrast={self.contrast}; a number in (0, 1] is expected, 1 changes nothing")
            if self.round_8bit and 255 * self.contrast < 1:
                raise ConfigError(
                    f"contrast={self.contrast} leaves less than one of 255 levels; give more, or leave round_8bit out"
                )

    def __init__(self, config: Any, *, image_shape: tuple[int, int, int], host_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.config = config
        self.image_shape = image_shape
        self.host_shape = host_shape
        channels, height, width = host_shape
        match_channels(torch.empty(0, *image_shape), channels)
        self.geometry = Geometry(channels=channels, height=height, width=width, window=self.window_box())
        self.register_buffer("frame", torch.full((1, *host_shape), BACKGROUND), persistent=False)
        self.frame: Tensor

    def window_box(self) -> Box:
        """The box of the canvas that the task image fills."""
        raise NotImplementedError

    def image_size(self) -> tuple[int, int]:
        """Height and width of the task image on the canvas, in pixels; by default the window's."""
        return self.geometry.window.height, self.geometry.window.width

    def arrange(self, images: Float[Tensor, "b C h w"]) -> Float[Tensor, "b C h2 w2"]:
        """Turn task images into the window's pixels; by default they stay as they are.

        Args:
            images: b × C × h × w in [0, 1], with the host's channels.

        Returns:
            b × C × the window's height × width, in [0, 1].
        """
        return images

    def forward(self, images: Tensor) -> Framed:
        """Place a batch of task images.

        Args:
            images: b × c × h × w, uint8 in [0, 255] or floating point in [0, 1].

        Returns:
            The canvas, mid-grey around the window.

        Raises:
            DataError: the images have another shape, type or range, or hold values that are not finite.
        """
        if hasattr(images, "shape") and (images.ndim != 4 or tuple(images.shape[1:]) != self.image_shape):
            raise DataError(
                f"images of shape {tuple(images.shape)}; b x {' x '.join(map(str, self.image_shape))} is expected"
            )
        return self.place(to_unit(images, self.frame.dtype))

    def place(self, images: Float[Tensor, "b c h w"]) -> Framed:
        """Place task images that were checked already: all that `forward` computes, as a graph can be traced of it.

        Args:
            images: b × c × h × w, of the canvas's type, in [0, 1].

        Returns:
            The canvas, mid-grey around the window.
        """
        window = self.arrange(match_channels(images, self.host_shape[0]))
        return Framed(frame=self.frame, window=self._faded(window), box=self.geometry.window)

    def _faded(self, window: Tensor) -> Tensor:
        """The window in the contrast and the levels that the options ask for."""
        contrast, whole = self.config.contrast, self.config.round_8bit
        if contrast < 1:
            # grey + contrast · (x - grey)
            window = BACKGROUND + contrast * (window - BACKGROUND)
        if whole:
            # The nearest of 256 levels that lies within contrast / 2 of grey.
            low, high = eps_bounds(self.frame.new_tensor(BACKGROUND), contrast / 2, whole=True)
            window = round_to_8bit(within(window, low, high))
        return window


def size_in_window(canvas: str, host_shape: tuple[int, int, int]) -> tuple[int, int]:
    """The size at which a canvas shows a square image, for images that have no common size of their own.

    Args:
        canvas: the canvas's spec.
        host_shape: C, H, W of the host's input.

    Returns:
        Height and width in pixels; half the host's shorter side where the canvas leaves images at their own size.

    Raises:
        ConfigError: there is no such canvas, or it doesn't fit the host.
    """
    variant, config = configure("canvases", canvas)
    side = max(1, min(host_shape[1:]) // 2)
    size: tuple[int, int] = variant(config, image_shape=(host_shape[0], side, side), host_shape=host_shape).image_size()
    return size


def to_unit(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert images to floating point in [0, 1].

    Args:
        images: of any shape, uint8 in [0, 255] or floating point in [0, 1].
        dtype: the floating-point type of the result.

    Returns:
        The same shape; uint8 is divided by 255.

    Raises:
        DataError: the images have another type, or a value is outside the range or not finite.
    """
    if not isinstance(images, Tensor):
        raise DataError(f"images as {type(images).__name__}; give a tensor, such as torch.as_tensor(images)")
    if images.dtype == torch.uint8:
        return images.to(dtype) / 255
    if not images.is_floating_point():
        raise DataError(f"images of type {images.dtype}; give uint8 in [0, 255] or floating point in [0, 1]")
    if not torch.isfinite(images).all():
        raise DataError("images hold values that are not finite; clean the data")
    if images.numel() and (images.min() < 0 or images.max() > 1):
        raise DataError(
            f"images range over [{images.min():.9g}, {images.max():.9g}]; scale them to [0, 1] or give uint8"
        )
    return images.to(dtype)


def match_channels(images: Float[Tensor, "b c h w"], channels: int) -> Float[Tensor, "b C h w"]:
    """Repeat grey for every channel, or turn colour into grey (ITU-R BT.601), as the host needs.

    Args:
        images: b × c × h × w.
        channels: C, the host's number of channels.

    Returns:
        b × C × h × w.

    Raises:
        ConfigError: the numbers of channels need any other change.
    """
    have = images.shape[1]
    if have == channels:
        return images
    if have == 1:
        return images.expand(-1, channels, -1, -1)
    if have == 3 and channels == 1:
        # grey = 0.299 red + 0.587 green + 0.114 blue
        weights = images.new_tensor(LUMA).view(1, 3, 1, 1)
        return (images * weights).sum(dim=1, keepdim=True)
    raise ConfigError(f"the task's images have {have} channels, the host takes {channels}; convert the images")


def centred(image: tuple[int, int], host: tuple[int, int], *, size: int = 0) -> Box:
    """The box of an image in the centre of a canvas; an odd pixel of margin goes below and to the right.

    Args:
        image: h and w, in pixels.
        host: H and W of the canvas, in pixels.
        size: the option by which the image has this size, for errors; 0 where it is the image's own.

    Raises:
        ConfigError: the image is larger than the canvas.
    """
    (h, w), (height, width) = image, host
    if size and (h > height or w > width):
        raise ConfigError(
            f"size={size} makes an image of {h}x{w} pixels, the host's canvas has {height}x{width}; give less"
        )
    if h > height or w > width:
        raise ConfigError(
            f"a task image of {h}x{w} pixels is larger than the host's canvas of {height}x{width}; "
            "use the canvas 'resize' or a host with a larger input"
        )
    return Box(top=(height - h) // 2, left=(width - w) // 2, height=h, width=w)


def check_size(size: int) -> None:
    """Refuse a negative size.

    Args:
        size: in pixels.

    Raises:
        ConfigError: the size is negative.
    """
    if size < 0:
        raise ConfigError(f"size={size}; pixels of the longer side, or 0 for the image's own size")


def scaled(image: tuple[int, int], size: int) -> tuple[int, int]:
    """Height and width of an image that is scaled to a given longer side.

    Args:
        image: its height and width, in pixels.
        size: the longer side after scaling, in pixels; 0 leaves the image as it is.
    """
    longer = max(image)
    height, width = (max(1, round(side * size / longer)) for side in image) if size else image
    return height, width


def resized(images: Float[Tensor, "b C h w"], size: tuple[int, int]) -> Float[Tensor, "b C h2 w2"]:
    """Images in another size, by bilinear interpolation with antialiasing.

    Args:
        images: b × C × h × w in [0, 1].
        size: height and width of the result, in pixels; images that have it stay as they are.

    Returns:
        b × C × height × width, in [0, 1].
    """
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)
