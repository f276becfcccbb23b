"""Reading letters: 32×32 pixels, the 26 capitals in several fonts, turned, on coloured clutter."""

from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reprogram.errors import ConfigError
from reprogram.tasks._split import Split, from_arrays
from reprogram.tasks.base import Task, TaskSource

SIZE = 32
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono")
"""Fonts that the package matplotlib carries."""
TURN = 30.0
"""The largest angle, in degrees."""
CONTRAST = 0.25
"""The least distance of the letter's colour from the mean of what lies behind it, in a channel, of 1."""


class Letters(TaskSource):
    """Capital letters that were drawn for the purpose: a task that is hard with few labelled images.

    Letters, fonts, sizes, angles and colours are uniform; what lies behind them are coloured tiles that were blurred.
    Another version of Pillow may draw some pixels otherwise, which the task's fingerprint shows.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            train: number of training images.
            validation: number of validation images.
            test: number of test images.
            seed: decides the images.
        """

        train: int = 1_560
        validation: int = 780
        test: int = 780
        seed: int = 0

        def __post_init__(self) -> None:
            if min(self.train, self.validation, self.test) < 26 or max(self.train, self.validation, self.test) > 10**6:
                raise ConfigError("train, validation and test are numbers of images, 26 to 1,000,000 each")

    @classmethod
    def example(cls) -> Config:
        """A few images."""
        return cls.Config(train=104, validation=26, test=26)

    def load(self, *, download: bool = False) -> Task:
        """Draw the images."""
        generator = np.random.default_rng(self.config.seed)
        sizes = (self.config.train, self.config.validation, self.config.test)
        train, validation, test = (_drawn(count, generator) for count in sizes)
        return Task(name="letters", train=train, validation=validation, test=test, class_names=tuple(ascii_uppercase))


def _drawn(count: int, generator: np.random.Generator) -> Split:
    """So many images, of each letter as many as of any other, or one more."""
    import matplotlib
    from PIL import ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [[ImageFont.truetype(str(folder / f"{name}.ttf"), size) for size in range(36, 53, 4)] for name in FONTS]
    labels = generator.permutation(np.arange(count) % len(ascii_uppercase))
    images = [_image(ascii_uppercase[label], fonts, generator) for label in labels]
    return from_arrays(np.stack(images), labels)


def _image(letter: str, fonts: list[list[Any]], generator: np.random.Generator) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw

    big = Image.new("L", (2 * SIZE, 2 * SIZE), 0)
    sizes = fonts[generator.integers(len(fonts))]
    font = sizes[generator.integers(len(sizes))]
    ImageDraw.Draw(big).text((SIZE, SIZE), letter, fill=255, font=font, anchor="mm")
    turned = big.rotate(generator.uniform(-TURN, TURN), Image.Resampling.BILINEAR)
    ink = np.asarray(turned.resize((SIZE, SIZE), Image.Resampling.BOX), dtype=np.float64)[..., None] / 255
    tiles = generator.integers(0, 256, (3, 3, 3), dtype=np.uint8)
    behind = np.asarray(Image.fromarray(tiles).resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=np.float64) / 255
    colour = generator.uniform(0, 1, 3)
    while np.abs(colour - behind.mean(axis=(0, 1))).max() < CONTRAST:
        colour = generator.uniform(0, 1, 3)
    # ink · colour + (1 − ink) · behind
    return np.rint(255 * (ink * colour + (1 - ink) * behind)).astype(np.uint8)
