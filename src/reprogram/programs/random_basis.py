"""The frame program in a random orthogonal subspace: a few numbers that each move every pixel."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.framed import Framed, Geometry
from reprogram.programs._subspace import cosine_basis
from reprogram.programs.base import DenseProgram, require_frame
from reprogram.utils.seeding import permutation


class RandomBasis(DenseProgram):
    """P = tanh(s · D Fᵀ W↑) / 2 on the frame, as `frame`: W↑ has W at N random places of a cosine transform F.

    D are random signs. The N columns of D Fᵀ are orthonormal and spread over all pixels, as those of a random
    projection, but nothing of their size is stored: a program file holds W and the seed. The factor s = √(C H W / N)
    gives pixels the standard deviation of W.

    Reference: Ailon and Chazelle, The Fast Johnson-Lindenstrauss Transform, SIAM Journal on Computing 2009.
    """

    confined = True

    @dataclass(frozen=True, kw_only=True)
    class Config(DenseProgram.Config):
        """Options.

        Attributes:
            numbers: N.
            seed: decides places and signs.
        """

        numbers: int = 256
        seed: int = 0

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.numbers < 1:
                raise ConfigError(f"numbers={self.numbers}; at least 1 is expected")

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        require_frame("random-basis", geometry)
        channels, height, width = geometry.shape
        total = channels * height * width
        if config.numbers > total:
            raise ConfigError(f"random-basis: numbers={config.numbers}, but the canvas has {total}; give fewer")
        super().__init__(config, geometry=geometry, shape=(config.numbers,))
        order = permutation(2 * total, config.seed)
        signs = torch.where(order[:total] < total, 1.0, -1.0).view(1, channels, height, width)
        self.register_buffer("places", order[order < total][: config.numbers].clone(), persistent=False)
        scale = (total / config.numbers) ** 0.5
        self.register_buffer("signs", signs * scale * geometry.mask(), persistent=False)
        self.register_buffer("rows", cosine_basis(height), persistent=False)
        self.register_buffer("columns", cosine_basis(width), persistent=False)
        self.places: Tensor
        self.signs: Tensor
        self.rows: Tensor
        self.columns: Tensor

    def run(self, framed: Framed) -> Framed:
        """Add P to the frame."""
        # C x H x W, with W at N places
        waves = self.weight.new_zeros(framed.frame.numel()).index_copy(0, self.places, self.weight)
        # s D Fᵀ W↑, 1 x C x H x W
        pixels = self.rows.T @ waves.view_as(framed.frame) @ self.columns * self.signs
        return replace(framed, frame=framed.frame + torch.tanh(pixels) / 2)
