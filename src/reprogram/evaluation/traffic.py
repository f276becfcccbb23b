"""Benign queries made by code: what honest accounts send, also what could be mistaken for a program.

Everything is made from photographs and a seed. An account's name begins with its kind.
"""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from reprogram.detectors.base import Array, Query
from reprogram.errors import ConfigError, DataError

Stream = Callable[[Sequence[Image.Image], int, np.random.Generator], Iterator[Image.Image]]
"""What an account sends: photographs, the side of its images in pixels, and random numbers in; images out, for ever."""

SHARES = {"photos": 0.4, "letterbox": 0.12, "framed": 0.12, "burst": 0.12, "thumbnails": 0.12, "retries": 0.12}
"""The share of the accounts of each kind, where nothing else is said."""

COLOURS = ((0, 0, 0), (255, 255, 255), (128, 128, 128), (18, 18, 18), (240, 240, 235))
"""Of bars and pages."""

MAX_SIDE = 512
"""Photographs are kept at this size at the most."""


def photographs(folder: str | Path | None = None) -> list[Image.Image]:
    """The photographs that traffic is made from, RGB.

    Args:
        folder: their folder; by default the two that come with scikit-learn.

    Raises:
        DataError: the folder holds no image, or one can't be read.
    """
    from reprogram.utils import images
    from reprogram.utils.image_files import list_images

    if folder is None:
        from sklearn.datasets import load_sample_images

        found = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    else:
        found = [images.read(path) for path in list_images(Path(folder))]
    if not found:
        raise DataError(f"{folder}: the folder holds no images; give photographs")
    return as_photographs(found)


def as_photographs(found: Sequence[Image.Image]) -> list[Image.Image]:
    """Images as traffic is made from them: RGB, and no larger than needed.

    Args:
        found: images of any size.
    """
    photos = [image.convert("RGB") for image in found]
    for photo in photos:
        photo.thumbnail((MAX_SIDE, MAX_SIDE))
    return photos


def benign(
    photos: Sequence[Image.Image],
    *,
    queries: int,
    accounts: int,
    size: int = 224,
    seed: int = 0,
    shares: dict[str, float] | None = None,
) -> Iterator[Query]:
    """Queries of honest accounts, in random order.

    Args:
        photos: what they show.
        queries: how many.
        accounts: how many send them.
        size: the side of the square images, in pixels.
        seed: of everything that is random.
        shares: the share of the accounts of each kind, a key of `STREAMS`; by default `SHARES`.

    Yields:
        Queries without answers.

    Raises:
        ConfigError: a kind is unknown, or a number too small.
    """
    chosen = SHARES if shares is None else shares
    unknown = sorted(set(chosen) - set(STREAMS))
    if unknown or not chosen or min(chosen.values()) < 0 or sum(chosen.values()) <= 0:
        raise ConfigError(f"shares={chosen}: shares of {', '.join(STREAMS)} are expected")
    if min(queries, accounts) < 1 or size < 16 or not photos:
        raise ConfigError("traffic needs a photograph, a query, an account, and images of at least 16 pixels")
    generator = np.random.default_rng(seed)
    # The kinds in turn, so that each has its share of any number of accounts.
    steps = np.cumsum(list(chosen.values())) / sum(chosen.values())
    kinds = [list(chosen)[int(np.searchsorted(steps, (i + 0.5) / accounts))] for i in range(accounts)]
    senders = [STREAMS[kind](photos, size, np.random.default_rng([seed, 1, index])) for index, kind in enumerate(kinds)]
    for index in generator.integers(0, accounts, queries):
        image = next(senders[index])
        yield Query(image=as_query(image), account=f"{kinds[index]}-{index}")


def as_query(image: Image.Image) -> Array:
    """An RGB image as 3 × H × W of uint8.

    Args:
        image: the image.
    """
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8).transpose(2, 0, 1))


def _corner(room: int, rng: np.random.Generator) -> tuple[int, int]:
    """A random place, each number below the room."""
    return int(rng.integers(room)), int(rng.integers(room))


def _view(photos: Sequence[Image.Image], width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """A random part of a random photograph, at a size in pixels, at times mirrored."""
    photo = photos[int(rng.integers(len(photos)))]
    scale = min(photo.width / width, photo.height / height) * rng.uniform(0.4, 1.0)
    wide, high = max(1.0, scale * width), max(1.0, scale * height)
    left, top = rng.uniform(0, photo.width - wide), rng.uniform(0, photo.height - high)
    view = photo.resize((width, height), Image.Resampling.BILINEAR, box=(left, top, left + wide, top + high))
    return view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else view


def _photos(photos: Sequence[Image.Image], size: int, rng: np.random.Generator) -> Iterator[Image.Image]:
    """A photograph after the other."""
    while True:
        yield _view(photos, size, size, rng)


def _letterbox(photos: Sequence[Image.Image], size: int, rng: np.random.Generator) -> Iterator[Image.Image]:
    """Photographs of one shape between bars of one colour, or of their own blurred colours."""
    aspect, upright = rng.uniform(1.25, 2.4), rng.random() < 0.3
    inner = (max(8, round(size / aspect)), size) if upright else (size, max(8, round(size / aspect)))
    colour = COLOURS[int(rng.integers(len(COLOURS)))]
    is_blurred = rng.random() < 0.2
    while True:
        view = _view(photos, *inner, rng)
        page = Image.new("RGB", (size, size), colour)
        if is_blurred:
            page = view.resize((6, 6), Image.Resampling.BOX).resize((size, size), Image.Resampling.BICUBIC)
        page.paste(view, ((size - inner[0]) // 2, (size - inner[1]) // 2))
        yield page


def _framed(photos: Sequence[Image.Image], size: int, rng: np.random.Generator) -> Iterator[Image.Image]:
    """Photographs in the same frame of a website or a scanner, which covers a tenth to nearly half of the picture."""
    page = _wallpaper(size, rng)
    inner = round(size * math.sqrt(1 - rng.uniform(0.1, 0.45)))
    left, top = (int(rng.integers(0, size - inner + 1)) for _ in range(2))
    while True:
        picture = page.copy()
        picture.paste(_view(photos, inner, inner, rng), (left, top))
        yield picture


def _wallpaper(size: int, rng: np.random.Generator) -> Image.Image:
    """A page to show photographs on: of one colour, a gradient, stripes, or a texture; with some boxes of colour."""
    colours = rng.integers(0, 256, (2, 3))
    across = np.linspace(0, 1, size)
    kind = rng.integers(4)
    mix = np.zeros((size, size))
    if kind == 1:
        mix = np.broadcast_to(across[:, None], (size, size))
    elif kind == 2:
        mix = np.broadcast_to((np.arange(size) // int(rng.integers(2, 16))) % 2, (size, size)).astype(float)
    elif kind == 3:
        coarse = Image.fromarray((rng.random((size // 4, size // 4)) * 255).astype(np.uint8))
        mix = np.asarray(coarse.resize((size, size), Image.Resampling.BILINEAR)) / 255
    pixels = colours[0] + mix[..., None] * (colours[1] - colours[0])
    for _ in range(int(rng.integers(0, 6))):
        top, left = rng.integers(0, size - 8, 2)
        pixels[top : top + int(rng.integers(4, max(size // 4, 5))), left : left + int(rng.integers(4, size // 2))] = (
            rng.integers(0, 256, 3)
        )
    return Image.fromarray(pixels.round().astype(np.uint8))


def _burst(photos: Sequence[Image.Image], size: int, rng: np.random.Generator) -> Iterator[Image.Image]:
    """Films: 5 to 40 pictures of a scene, the camera moves or stands, light and noise vary; then the next scene."""
    while True:
        scene = _view(photos, 2 * size, 2 * size, rng)
        moves = rng.random() < 0.6
        step, zoom = (rng.uniform(-6, 6, 2), rng.uniform(-0.02, 0.02)) if moves else (np.zeros(2), 0.0)
        thing = _view(photos, size // 4, size // 4, rng)
        path = rng.uniform(0, 0.75 * size, 2), rng.uniform(-5, 5, 2)
        noise = rng.uniform(0.7, 3)
        for i in range(int(rng.integers(5, 41))):
            side = min(size * (1.4 + zoom * i), 2 * size)
            corner = np.clip(size / 3 + step * i, 0, 2 * size - side)
            box = (*corner, *np.minimum(corner + side, 2 * size))
            frame = scene.resize((size, size), Image.Resampling.BILINEAR, box=box)
            left, top = (path[0] + path[1] * i) % (0.75 * size)
            frame.paste(thing, (int(left), int(top)))
            pixels = np.asarray(frame, dtype=np.float32) * rng.uniform(0.97, 1.03)
            pixels += noise * rng.standard_normal(pixels.shape, dtype=np.float32)
            yield Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _thumbnails(photos: Sequence[Image.Image], size: int, rng: np.random.Generator) -> Iterator[Image.Image]:
    """Small pictures on a page of one colour, always in the same place."""
    inner = int(rng.integers(max(8, size // 4), max(9, round(0.65 * size))))
    colour = COLOURS[int(rng.integers(len(COLOURS)))]
    corner = _corner(size - inner + 1, rng)
    while True:
        page = Image.new("RGB", (size, size), colour)
        page.paste(_view(photos, inner, inner, rng), corner)
        yield page


def _retries(photos: Sequence[Image.Image], size: int, rng: np.random.Generator) -> Iterator[Image.Image]:
    """The same picture up to five times: as it was, compressed anew, or a little larger or smaller."""
    while True:
        picture = _view(photos, size, size, rng)
        yield picture
        for _ in range(int(rng.integers(0, 5))):
            kind, again = rng.integers(3), picture
            if kind == 1:
                file = io.BytesIO()
                picture.save(file, "JPEG", quality=int(rng.integers(60, 96)))
                again = Image.open(file).convert("RGB")
            elif kind == 2:
                other = round(size * rng.uniform(0.8, 1.2))
                again = picture.resize((other, other), Image.Resampling.BILINEAR).resize((size, size))
            yield again


def _screens(photos: Sequence[Image.Image], size: int, rng: np.random.Generator) -> Iterator[Image.Image]:
    """Pictures in one program's window, which covers 60 to 85 % of the screen and never changes."""
    page = _wallpaper(size, rng)
    for _ in range(40):
        wide, high = (int(v) for v in rng.integers(3, size // 4, 2))
        page.paste(Image.new("RGB", (wide, high), tuple(rng.integers(0, 256, 3))), _corner(size - 8, rng))
    inner = round(size * math.sqrt(1 - rng.uniform(0.6, 0.85)))
    corner = _corner(size - inner + 1, rng)
    while True:
        picture = page.copy()
        picture.paste(_view(photos, inner, inner, rng), corner)
        yield picture


STREAMS: dict[str, Stream] = {
    "photos": _photos,
    "letterbox": _letterbox,
    "framed": _framed,
    "burst": _burst,
    "thumbnails": _thumbnails,
    "retries": _retries,
    "screens": _screens,
}
"""Kinds of accounts. `screens` can't be told from a program by anything that repeats, and isn't among `SHARES`."""
