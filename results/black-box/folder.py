"""Write images of CIFAR-10 as PNG files in two classes: `python folder.py CIFAR10.npz FOLDER`.

The file is an .npz with x_train, y_train, x_test, y_test; the folder gets train/CLASS/*.png and test/CLASS/*.png with
the classes "animal" and "vehicle".
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

ANIMALS = {2, 3, 4, 5, 6, 7}
"""Bird, cat, deer, dog, frog, horse."""


if __name__ == "__main__":
    source, target = sys.argv[1:]
    with np.load(source) as data:
        for part in ("train", "test"):
            for number, (pixels, label) in enumerate(zip(data[f"x_{part}"], data[f"y_{part}"], strict=True)):
                folder = Path(target) / part / ("animal" if int(label) in ANIMALS else "vehicle")
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / f"{number:05}.png")
