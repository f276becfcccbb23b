"""Task image and program hidden in a photograph: the 2018 paper's concealed reprogramming."""

import hashlib
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.framed import BACKGROUND, Framed, Geometry
from reprogram.programs.base import DenseProgram, check_eps
from reprogram.utils import images
from reprogram.utils.quantize import floor_to_8bit, within


class Concealed(DenseProgram):
    """X_adv = photo + contrast · (X̃ − background) + eps · tanh(W) (the paper's section on concealing).

    The photograph replaces the background, the task image is laid over it faintly, and the program is added everywhere.
    With the canvas `shuffled` nothing of the task can be seen. eps and contrast count in [0, 1] pixels: |X_adv − photo|
    ≤ eps around the task image and ≤ eps + contrast / 2 on it. Each bound is rounded down to whole levels of 1/255, and
    `round_8bit` keeps it.

    The photograph is resized to cover the canvas and cut to its centre. It is read when the model is built, and goes
    into the program file with its name and the first digits of its SHA-256, never with its path.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(DenseProgram.Config):
        """Options.

        Attributes:
            photo: path of the photograph; by default a flower (`flower.jpg` of scikit-learn).
            eps: the largest change that the program makes, in (0, 1].
            contrast: the task image's, in (0, 1]: the image changes a pixel by at most half of it.
        """

        photo: str = ""
        eps: float = 0.05
        contrast: float = 0.1

        def __post_init__(self) -> None:
            super().__post_init__()
            check_eps(self.eps, whole=True)
            if not 0 < self.contrast <= 1:
                raise ConfigError(f"contrast={self.contrast}; a number in (0, 1] is expected")

    @classmethod
    def needs(cls, config: Config) -> list[Path]:
        """The photograph's file, where the options name one."""
        return [Path(config.photo)] if config.photo else []

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        super().__init__(config, geometry=geometry)
        self.register_buffer("photo", torch.zeros(1, *geometry.shape, dtype=torch.uint8))
        self.photo: Tensor

    def initialize(self, generator: torch.Generator) -> None:
        """Draw W ~ N(0, init²), and read the photograph; the configuration forgets the path of its file."""
        super().initialize(generator)
        if self.geometry.channels not in (1, 3):
            raise ConfigError(f"concealed: the host takes {self.geometry.channels} channels; photographs have 1 or 3")
        if not self.config.photo:
            with as_file(files("sklearn") / "datasets/images/flower.jpg") as path:
                self.photo.copy_(self._read(path))
            return
        path = Path(self.config.photo)
        self.photo.copy_(self._read(path))
        digest = hashlib.sha256(self.photo.numpy().tobytes()).hexdigest()
        self.config = replace(self.config, photo=f"{path.name}#{digest[:12]}")

    def _read(self, path: Path) -> Tensor:
        fitted = images.fit(images.read(path), self.geometry.height, self.geometry.width)
        return images.to_tensor(fitted, self.geometry.channels)

    def run(self, framed: Framed) -> Framed:
        """Draw the photograph with program and task image."""
        # Bounds in whole levels: eps around the task image, eps + contrast / 2 on it.
        eps = floor_to_8bit(self.config.eps)
        both = floor_to_8bit(self.config.eps + self.config.contrast / 2)
        photo = self.photo.to(self.weight.dtype) / 255
        # photo + eps · tanh(W), 1 x C x H x W
        drawn = photo + eps * torch.tanh(self.weight)
        rows, columns = framed.box.rows, framed.box.columns
        # contrast · (X̃ - background), b x C x h x w
        faint = self.config.contrast * (framed.window - BACKGROUND)
        under = photo[..., rows, columns]
        window = within(drawn[..., rows, columns] + faint, under - both, under + both)
        return Framed(frame=drawn, window=window, box=framed.box)
