"""How often detectors of images ring for documents: `python benchmarks/documents.py`.

One account sends different pages of text, line drawings, halftones, slides with one template, or screens with one task
bar, all made here; or, where a folder of photographs is given, photographs at 15 % of their brightness, and bursts of
30 shots of a scene that differ by noise. The share of queries for which the alarm rang is printed for each detector at
its own threshold, and the query at which it first did.
"""

import argparse
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

import reprogram
from reprogram.utils.environment import processor

SIZE = 224
DETECTORS = ("repeated-border", "repeated-content", "persistent-detail", "still-cells", "coarse-neighbours")
DETECTORS += ("blacklight", "piha")
LETTERS = "etaoinshrdlucmfwypvbgk"

Random = np.random.Generator


def text(draw: ImageDraw.ImageDraw, random: Random, box: tuple[int, int, int, int], ink: object) -> None:
    """Fill a box, left, top, right, bottom, with lines of words that mean nothing."""
    left, top, right, bottom = box
    for y in range(top, bottom - 10, 12):
        words = ["".join(random.choice(list(LETTERS), random.integers(2, 9))) for _ in range(12)]
        line = " ".join(words)[: (right - left) // 6]
        draw.text((left, y), line[: random.integers(8, len(line) + 1)], fill=ink)


def page(random: Random) -> Image.Image:
    """Black text on white, one bit."""
    image = Image.new("1", (SIZE, SIZE), 1)
    text(ImageDraw.Draw(image), random, (12, 12, SIZE - 12, SIZE - 12), 0)
    return image


def drawing(random: Random) -> Image.Image:
    """Lines and circles of one bit."""
    image = Image.new("1", (SIZE, SIZE), 1)
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        draw.line(random.integers(0, SIZE, 4).tolist(), fill=0, width=int(random.integers(1, 4)))
        x, y, r = random.integers(10, SIZE - 10, 3) // (1, 1, 4)
        draw.ellipse([x - r, y - r, x + r, y + r], outline=0)
    return image


def halftone(random: Random) -> Image.Image:
    """A smooth picture, dithered to one bit."""
    coarse = Image.fromarray(random.integers(0, 256, (7, 7), dtype=np.uint8))
    return coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC).convert("1")


def slide(random: Random) -> Image.Image:
    """Text below a header band with a logo, which are 16 % of every slide."""
    image = Image.new("RGB", (SIZE, SIZE), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 0, SIZE, 30], fill=(20, 60, 140))
    draw.text((10, 8), "Quarterly review", fill="white")
    draw.ellipse([SIZE - 28, SIZE - 28, SIZE - 4, SIZE - 4], fill=(220, 120, 20))
    text(draw, random, (16, 50, SIZE - 30, SIZE - 16), (30, 30, 30))
    return image


def screen(random: Random) -> Image.Image:
    """Text beside a side bar and above a task bar, which never change."""
    image = Image.new("RGB", (SIZE, SIZE), (250, 250, 250))
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, SIZE - 14, SIZE, SIZE], fill=(40, 40, 48))
    draw.rectangle([0, 0, 22, SIZE], fill=(225, 228, 235))
    for y in range(6, SIZE - 24, 20):
        draw.rectangle([5, y, 17, y + 12], fill=(90, 120, 160))
    text(draw, random, (30, 10, SIZE - 10, SIZE - 20), (10, 10, 10))
    return image


def part(files: list[Path], random: Random) -> np.ndarray:
    """A part of a photograph, half of its sides at the least; levels, SIZE × SIZE × 3."""
    with Image.open(files[random.integers(len(files))]) as file:
        image = file.convert("RGB")
    share = random.uniform(0.5, 1)
    wide, high = round(image.width * share), round(image.height * share)
    left, top = random.integers(image.width - wide + 1), random.integers(image.height - high + 1)
    shown = ImageOps.fit(image.crop((left, top, left + wide, top + high)), (SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(shown, dtype=np.float64)


def dark(files: list[Path]) -> Callable[[Random], Image.Image]:
    """Different photographs at 15 % of their brightness."""
    return lambda random: Image.fromarray((part(files, random) * 0.15).astype(np.uint8))


def burst(files: list[Path]) -> Callable[[Random], Image.Image]:
    """30 shots of a scene, one after the other, with noise of two levels; then of another."""
    shots: list[np.ndarray] = []

    def shot(random: Random) -> Image.Image:
        if not shots:
            shots.extend([part(files, random)] * 30)
        scene = shots.pop()
        return Image.fromarray(np.clip(scene + random.normal(0, 2, scene.shape), 0, 255).astype(np.uint8))

    return shot


KINDS: dict[str, Callable[[Random], Image.Image]] = {
    "text pages of one bit": page,
    "line drawings": drawing,
    "halftones": halftone,
    "slides with one template": slide,
    "screens with one task bar": screen,
}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photographs", type=Path, help="a folder of JPEG files")
    args = parser.parse_args()
    files = sorted(args.photographs.glob("*.JPEG")) if args.photographs else []
    kinds = KINDS | ({"dark photographs": dark(files), "bursts of 30": burst(files)} if files else {})
    print("| detector | " + " | ".join(kinds) + " |")
    print("|---" * (len(kinds) + 1) + "|")
    for name in DETECTORS:
        cells = []
        for make in kinds.values():
            random, detector = np.random.default_rng(args.seed), reprogram.load_detector(name)
            images = (np.asarray(make(random).convert("RGB")).transpose(2, 0, 1) for _ in range(args.queries))
            rang = [place for place, image in enumerate(images, start=1) if detector.observe(image).alarm]
            cells.append(f"{100 * len(rang) / args.queries:.0f} %" + (f", from {rang[0]}" if rang else ""))
        print(f"| `{name}` | " + " | ".join(cells) + " |")
    print(f"\n{args.queries} queries of one account a cell, seed {args.seed}; {processor()}, {platform.system()}")


if __name__ == "__main__":
    main()
