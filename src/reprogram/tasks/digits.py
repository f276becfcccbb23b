"""Scikit-learn's 1,797 handwritten digits of 8×8 pixels."""

from dataclasses import dataclass

import numpy as np

from reprogram.tasks._split import from_arrays, split_off
from reprogram.tasks.base import Task, TaskSource


class Digits(TaskSource):
    """The UCI test digits in the package scikit-learn; values 0 to 16 are scaled to 0 to 255.

    A fifth of the images is the test split, a tenth of the rest the validation split.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            seed: decides the splits.
        """

        seed: int = 0

    def load(self, *, download: bool = False) -> Task:
        """Read the images from scikit-learn."""
        from sklearn.datasets import load_digits

        data = load_digits()
        # n x 8 x 8, 0 to 16, scaled to 0 to 255
        everything = from_arrays(np.rint(data.images * (255 / 16)).astype(np.uint8), data.target)
        rest, test = split_off(everything, 0.2, self.config.seed)
        train, validation = split_off(rest, 0.1, self.config.seed)
        return Task(name="digits", train=train, validation=validation, test=test, class_names=tuple("0123456789"))
