"""Ordinary image files as arrays, by one documented policy, and back.

Policy, in this order (docs/data.md has the table): the first frame of an animation; EXIF rotation is applied;
values of more than 8 bits are scaled to 255 and rounded; transparency is laid over white; palettes, CMYK and the rest
become RGB as Pillow does it; grey stays grey. `reprogram.utils.pixel_layout` decides what a file's samples are.
Files of more than `MAX_PIXELS` are refused before they are decoded; decoding takes at most 12 bytes of memory a pixel.
"""

import contextlib
import errno
import io
import stat
import struct
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin, WebPImagePlugin
from torch import Tensor

from reprogram.errors import DataError
from reprogram.utils.bitmap import decode_bitmap
from reprogram.utils.deep_pixels import UnreadLayoutError, levels_of
from reprogram.utils.image_refusals import refusal
from reprogram.utils.metadata import without_metadata
from reprogram.utils.orientation import of_exif, orientation, turned
from reprogram.utils.pixel_layout import decode

MAX_PIXELS = 100_000_000
MAX_BYTES = 512 * 2**20
MAX_SIDE = 1_000_000
"""Pixels of the longest side that is decoded: each row has its cost, however few pixels it has."""
MAX_RETRIED = 64 * 2**20
"""Bytes of the largest file that is looked into again, without its metadata, if it can't be read."""
DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, AttributeError, OverflowError,
    struct.error,
)  # fmt: skip
"""What Pillow raises for damaged files."""
_LATER = (TiffImagePlugin.TiffImageFile.format, WebPImagePlugin.WebPImageFile.format)
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", *_LATER)
"""Pillow's names of the formats. Two plugins are imported above, or Pillow would import all it has for such a file."""
_SILENCER, _silencing = threading.Lock(), 0
_added: list[Any] = []


def read(path: str | Path) -> Image.Image:
    """Decode an image file to 8-bit grey ("L") or RGB, by the policy above.

    Args:
        path: the image file.

    Raises:
        DataError: the file is missing, no image, damaged or too large.
    """
    path = Path(path)
    try:
        with _opened(path) as file, _without_warnings():
            return _picture(file, path, MAX_PIXELS)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        what = (
            "a link to nowhere; mend or remove it" if path.is_symlink() else "no such file; give the path of an image"
        )
        raise DataError(f"{path}: {what}") from None
    except PermissionError:
        raise DataError(f"{path}: may not be read; change its permissions") from None
    except (Image.DecompressionBombError, UnreadLayoutError, *DAMAGED) as error:
        raise refusal(error, str(path), lambda: path.open("rb"), MAX_PIXELS) from None


def read_bytes(content: bytes, *, most_pixels: int, name: str = "the image") -> Image.Image:
    """Decode the bytes of an image file as `read` does; nothing is opened.

    Pillow's warnings aren't held back, since Python's filters belong to all threads.

    Args:
        content: the file.
        most_pixels: a file of more pixels is refused before it is decoded; never more than `MAX_PIXELS` are decoded.
        name: what messages call it.

    Raises:
        DataError: it is no image, damaged or too large.
    """
    most = min(most_pixels, MAX_PIXELS)
    try:
        return _picture(io.BytesIO(content), name, most)
    except (Image.DecompressionBombError, UnreadLayoutError, *DAMAGED) as error:
        raise refusal(error, name, lambda: io.BytesIO(content), most) from None


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Run the block, and other threads meanwhile, without Pillow's warnings of what it reads all the same.

    Filters of warnings belong to the process. These two are added and taken away, also in overlapping blocks of several
    threads, and no other filter changes.
    """
    global _silencing
    with _SILENCER:
        if not _silencing:  # Adding them anew would take them away for a moment.
            warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\b")
            _added[:] = warnings.filters[:2]
        _silencing += 1
    try:
        yield
    finally:
        with _SILENCER:
            _silencing -= 1
            for entry in _added if not _silencing else ():
                with contextlib.suppress(ValueError):  # An outer block has restored the filters before it.
                    warnings.filters.remove(entry)  # type: ignore[attr-defined]


def _opened(path: Path) -> BinaryIO:
    """An image file of ordinary size."""
    try:
        status = path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:  # Links that go round in a circle lead nowhere, too.
            raise FileNotFoundError from None
        raise
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise DataError(f"{path}: not an ordinary file; give an image file")
    if status.st_size > MAX_BYTES:
        raise DataError(f"{path}: {status.st_size:,} bytes; at most {MAX_BYTES:,} are read, make it smaller")
    return path.open("rb")


def _picture(file: BinaryIO, name: str | Path, most_pixels: int) -> Image.Image:
    """The picture in a file; metadata that can't be read are no reason to refuse it."""
    try:
        return _decoded(file, name, most_pixels)
    except UnreadLayoutError:
        raise
    except DAMAGED as error:
        if "too large" in str(error) or file.seek(0, io.SEEK_END) > MAX_RETRIED:  # Texts that swell are an attack.
            raise
        file.seek(0)
        bare = without_metadata(file.read())
        if bare is None:
            raise
        try:
            return turned(_decoded(io.BytesIO(bare[0]), name, most_pixels), of_exif(bare[1]))
        except DAMAGED:
            raise error from None


def _decoded(file: BinaryIO, name: str | Path, most_pixels: int) -> Image.Image:
    bitmap = decode_bitmap(file, most_pixels)
    if bitmap is not None:
        return bitmap
    file.seek(0)
    with Image.open(file, formats=FORMATS) as image:
        if image.width * image.height > most_pixels:
            raise DataError(
                f"{name}: {image.width}x{image.height} pixels; at most {most_pixels:,} are read, make it smaller"
            )
        if max(image.size) > MAX_SIDE:
            raise DataError(
                f"{name}: {image.width}x{image.height} pixels; a side has at most {MAX_SIDE:,}, make it smaller"
            )
        assert isinstance(image, ImageFile.ImageFile)
        picture = decode(image)
        return to_8bit(turned(picture, orientation(image)))


def to_8bit(image: Image.Image) -> Image.Image:
    """An image of any mode as 8-bit grey ("L") or RGB, by the policy above.

    Args:
        image: the image, loaded or not.

    Raises:
        UnreadLayoutError: the image's values have no fixed range, or its file isn't of a kind that is read.
    """
    if isinstance(image, ImageFile.ImageFile) and image.tile:  # It isn't loaded yet.
        image = decode(image)
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UnreadLayoutError("its values need more than 16 bits")
        grey = levels_of(values)
        if isinstance(transparent := image.info.get("transparency"), int):
            grey[values == transparent] = 255
        return Image.fromarray(grey)
    if image.mode == "F":
        raise UnreadLayoutError("its pixels are floating point, which has no fixed range")
    if image.mode == "LAB":
        raise UnreadLayoutError("its colours are CIE L*a*b*")
    if image.has_transparency_data:
        grey_alpha = image.convert("LA") if image.mode == "La" else image
        rgba = image if image.mode == "RGBA" else grey_alpha.convert("RGBA")
        opaque = Image.new("RGB", rgba.size, "white")
        opaque.paste(rgba, mask=rgba)
        return opaque.convert("L") if image.mode in ("1", "L", "LA", "La") else opaque
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def to_tensor(image: Image.Image, channels: int) -> Tensor:
    """An image as a tensor.

    Args:
        image: the image; 8-bit grey or RGB.
        channels: 3, where grey is repeated; or 1, where colour becomes grey by ITU-R BT.601.

    Returns:
        channels × h × w, uint8.

    Raises:
        DataError: another number of channels.
    """
    if channels not in (1, 3):
        raise DataError(f"the task's images have {channels} channels; image files are read with 1 or 3")
    pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    return torch.from_numpy(pixels.reshape(image.height, image.width, channels)).permute(2, 0, 1).contiguous()


def fit(image: Image.Image, height: int, width: int) -> Image.Image:
    """Resize an image to cover a rectangle (bilinear, antialiased), and cut it to its centre.

    Args:
        image: the image; one of the right size is returned as it is.
        height: of the rectangle, in pixels.
        width: of the rectangle, in pixels.
    """
    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), method=Image.Resampling.BILINEAR)


def to_png(pixels: Tensor) -> bytes:
    """An image as the bytes of a PNG file.

    Args:
        pixels: c × h × w in [0, 1], clipped where they aren't; c = 3 is colour, of any other c the first is grey.
    """
    array = (pixels.detach().cpu().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(array if array.shape[2] == 3 else array[..., 0])
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
