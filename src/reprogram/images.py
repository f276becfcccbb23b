"""Ordinary image files as arrays, by one documented policy, and back.

Policy, in this order (docs/how-it-works.md has the table): the first frame of an animation; EXIF rotation is applied;
16-bit grey is scaled by 255/65535 and rounded; transparency is laid over white; palettes, CMYK and the rest become
RGB as Pillow does it; grey stays grey. Files of more than `MAX_PIXELS` are refused before they are decoded; decoding
takes at most 12 bytes of memory a pixel.
"""

import io
import math
import os
import stat
import struct
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin
from torch import Tensor

from reprogram.errors import DataError

MAX_PIXELS = 100_000_000
MAX_BYTES = 512 * 2**20
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm")
_LATER = (TiffImagePlugin.TiffImageFile.format, WebPImagePlugin.WebPImageFile.format)
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", *_LATER)
"""Pillow's names; two plugins are imported here, or it would import every one that it has at the first such file."""
RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def read(path: str | Path) -> Image.Image:
    """Decode an image file to 8-bit grey ("L") or RGB.

    Raises:
        DataError: missing, not an image, damaged or too large.
    """
    path = Path(path)
    try:
        found = path.stat()
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
            raise DataError(f"{path}: not an ordinary file; give an image file")
        if found.st_size > MAX_BYTES:
            raise DataError(f"{path}: {found.st_size:,} bytes; at most {MAX_BYTES:,} are read, make it smaller")
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)  # Odd EXIF data, palettes it handles well.
            with Image.open(file, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(
                        f"{path}: {image.width}x{image.height} pixels; at most {MAX_PIXELS:,} are read, make it smaller"
                    )
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                return to_8bit(image)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise DataError(f"{path}: no such file; give the path of an image") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path}: too many pixels; at most {MAX_PIXELS:,} are read, make it smaller") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image that can be read; convert it to PNG") from None
    except PermissionError:
        raise DataError(f"{path}: may not be read; change its permissions") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error) as error:
        raise DataError(f"{path}: damaged ({str(error)[:120] or type(error).__name__}); replace or remove it") from None


def to_8bit(image: Image.Image) -> Image.Image:
    """An image of any mode as 8-bit grey ("L") or RGB, by the policy.

    Raises:
        ValueError: its values have no fixed range.
    """
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("its values need more than 16 bits")
        scaled = values.astype(np.uint32)
        scaled += 128
        scaled //= 257  # 65535 / 255: the nearest, and never a tie.
        return Image.fromarray(scaled.astype(np.uint8))
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if transparent:
        coloured = image if image.mode == "RGBA" else image.convert("RGBA")
        flat = Image.new("RGB", coloured.size, "white")
        flat.paste(coloured, mask=coloured)
        return flat.convert("L") if image.mode in ("1", "L", "LA", "La") else flat
    if image.mode == "F":
        raise ValueError("its pixels are floating point, which has no fixed range")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def to_tensor(image: Image.Image, channels: int) -> Tensor:
    """An image as channels × h × w, uint8; grey is repeated, for one channel colour becomes grey (ITU-R BT.601)."""
    if channels not in (1, 3):
        raise DataError(f"the task's images have {channels} channels; image files are read with 1 or 3")
    pixels = np.array(image.convert("L" if channels == 1 else "RGB"))
    return torch.from_numpy(pixels.reshape(image.height, image.width, channels)).permute(2, 0, 1).contiguous()


def fit(image: Image.Image, height: int, width: int) -> Image.Image:
    """Resize to cover height × width (bilinear, antialiased) and cut the centre; at that size it stays as it is."""
    if image.size == (width, height):
        return image
    return ImageOps.fit(image, (width, height), method=Image.Resampling.BILINEAR)


def photograph(
    path: str | Path, *, size: tuple[int, int], crop: float, interpolation: str, channels: int = 3
) -> Tensor:
    """A photograph as a host expects it: shorter side resized to size/crop, then the centre.

    Returns:
        1 × channels × H × W in [0, 1].
    """
    image = read(path).convert("L" if channels == 1 else "RGB")
    height, width = size
    scale = max(height, width) / crop
    shorter = min(image.size)
    resized = image.resize(
        (math.floor(image.width * math.floor(scale) / shorter), math.floor(image.height * math.floor(scale) / shorter)),
        RESAMPLING.get(interpolation, Image.Resampling.BICUBIC),
    )
    left, top = round((resized.width - width) / 2), round((resized.height - height) / 2)
    return to_tensor(resized.crop((left, top, left + width, top + height)), channels)[None].float() / 255


def to_png(pixels: Tensor) -> bytes:
    """PNG bytes of c × h × w pixels in [0, 1], c being 1 or 3 (other channels: the first)."""
    array = (pixels.detach().cpu().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(array if array.shape[2] == 3 else array[..., 0])
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def list_images(folder: Path) -> list[Path]:
    """The image files below a folder, by their endings, sorted; hidden ones and folders behind links are left out.

    Raises:
        DataError: a folder can't be listed.
    """
    found, folders = [], [str(folder)]
    try:
        while folders:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                        found.append(entry.path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{error.filename}: no such folder; give a folder of images") from None
    except OSError as error:
        raise DataError(f"{error.filename}: can't be listed ({error.strerror}); change its permissions") from None
    return sorted(map(Path, found))
