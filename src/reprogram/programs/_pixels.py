"""Programs on a given number of pixels of the frame."""

from dataclasses import dataclass

from reprogram.programs.base import DenseProgram, check_pixels


class PixelProgram(DenseProgram):
    """A program on N pixels of the frame; all channels of a pixel count as one (paper, limited program size)."""

    confined = True

    @dataclass(frozen=True, kw_only=True)
    class Config(DenseProgram.Config):
        """Options.

        Attributes:
            pixels: N, the number of pixels.
        """

        pixels: int = 1000

        def __post_init__(self) -> None:
            super().__post_init__()
            check_pixels(self.pixels)

    @classmethod
    def example(cls) -> Config:
        """A number of pixels that small canvases have."""
        return cls.Config(pixels=300)
