"""The frame program as a sum of waves, the low frequencies first."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.framed import Framed, Geometry
from reprogram.programs.base import DenseProgram, require_frame


class Fourier(DenseProgram):
    """P = tanh(F⁻¹(S ⊙ W) ⊙ M), as `frame`, with W in the space of frequencies (real FFT).

    S falls as 1 / f^power, like the spectrum of photographs. So a step of the learner moves low frequencies further
    than high ones, and neighbouring pixels aren't learned one by one. The parametrisation is that of feature
    visualisation (Olah, Mordvintsev and Schubert, *Feature Visualization*, Distill, 2017), here for the frame.

    S is scaled so that pixels have about the standard deviation of W (a sixth less with `power=4`, since coefficients
    without an imaginary part are taken for others): learning rates mean the same as for `frame`.
    """

    confined = True

    @dataclass(frozen=True, kw_only=True)
    class Config(DenseProgram.Config):
        """Options.

        Attributes:
            power: the exponent of the frequency in S; 0 treats all frequencies alike.
        """

        power: float = 0.5

        def __post_init__(self) -> None:
            super().__post_init__()
            if not 0 <= self.power <= 4:
                raise ConfigError(f"power={self.power}; a number from 0 to 4 is expected")

    def __init__(self, config: Config, *, geometry: Geometry) -> None:
        require_frame("fourier", geometry)
        channels, height, width = geometry.shape
        super().__init__(config, geometry=geometry, shape=(1, channels, height, width // 2 + 1, 2))
        self.register_buffer("scale", _spectrum(height, width, config.power), persistent=False)
        self.register_buffer("mask", geometry.mask(), persistent=False)
        self.scale: Tensor
        self.mask: Tensor

    def run(self, framed: Framed) -> Framed:
        """Add P to the frame."""
        # F⁻¹(S ⊙ W), 1 x C x H x W
        waves = torch.view_as_complex(self.weight) * self.scale
        pixels = torch.fft.irfft2(waves, s=(self.geometry.height, self.geometry.width), norm="ortho")
        return replace(framed, frame=framed.frame + torch.tanh(pixels * self.mask) / 2)


def _spectrum(height: int, width: int, power: float) -> Tensor:
    """The scale S, H × (W // 2 + 1): 1 / f^power, with f in cycles a pixel, and at 0 the lowest frequency above it.

    S is normalised: coefficients whose real and imaginary parts have variance 1 give pixels of variance 1. The few
    coefficients without an imaginary part are neglected.
    """
    # H x 1 and 1 x W
    vertical, horizontal = torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None]
    # f = √(f_y² + f_x²), H x W
    frequency = (vertical**2 + horizontal**2).sqrt().clamp(min=1 / max(height, width))
    scale: Tensor = frequency**-power
    # f^-power / √(2 · mean of f^(-2 power)); real FFTs keep W // 2 + 1 columns
    return (scale / (2 * scale.square().mean()).sqrt())[:, : width // 2 + 1].contiguous()
