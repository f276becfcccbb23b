"""The frame program as a sum of waves, the low frequencies first."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.framed import Framed, Geometry
from reprogram.programs.base import Weighted, require_frame


class Fourier(Weighted):
    """P = tanh(F⁻¹(S ⊙ W) ⊙ M), as `frame`, with W in the space of frequencies (real FFT).

    S falls as 1 / f^power, like the spectrum of photographs. So a step of the learner moves low frequencies further
    than high ones: in this basis neighbouring pixels aren't learned one by one. The parametrisation is that of feature
    visualisation (Olah, Mordvintsev and Schubert, *Feature Visualization*, Distill, 2017), here for the frame.

    S is scaled so that pixels have the deviation of W: learning rates mean what they mean for `frame`.
    """

    confined = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Weighted.Config):
        """Options.

        Attributes:
            power: of the frequency; 0 treats all alike.
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
        self.register_buffer("scale", spectrum(height, width, config.power), persistent=False)
        self.register_buffer("mask", geometry.mask(), persistent=False)
        self.scale: Tensor
        self.mask: Tensor

    def run(self, framed: Framed) -> Framed:
        """Add P to the frame."""
        waves = torch.view_as_complex(self.weight) * self.scale
        pixels = torch.fft.irfft2(waves, s=(self.geometry.height, self.geometry.width), norm="ortho")
        return replace(framed, frame=framed.frame + torch.tanh(pixels * self.mask) / 2)


def spectrum(height: int, width: int, power: float) -> Tensor:
    """S, H × (W // 2 + 1): 1 / f^power, f in cycles a pixel, at 0 the lowest that the picture has.

    Scaled so that coefficients whose real and imaginary parts have variance 1 give pixels of variance 1, but for those
    few that have no imaginary part.
    """
    vertical, horizontal = torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None]
    frequency = (vertical**2 + horizontal**2).sqrt().clamp(min=1 / max(height, width))
    scale: Tensor = frequency**-power
    return (scale / (2 * scale.square().mean()).sqrt())[:, : width // 2 + 1].contiguous()
