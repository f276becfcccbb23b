"""Images are encoded as JPEG and decoded again."""

from dataclasses import dataclass

from torch import Tensor

from reprogram.defences.base import InputDefence, straight_through
from reprogram.errors import ConfigError
from reprogram.hosts._encoding import as_sent
from reprogram.utils.seeding import Draws


class Jpeg(InputDefence):
    """Compresses each image as Pillow does, with halved colours (4:2:0). Images have 1 or 3 channels.

    Who knows it learns through it: the forward pass is compressed, and the gradient passes straight through. Who only
    asks needs nothing: the answers are those of the compressed images.

    Reference: Dziugaite, Ghahramani and Roy, A study of the effect of JPG compression on adversarial images, 2016.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            quality: of JPEG, 1 to 100.
        """

        quality: int = 75

        def __post_init__(self) -> None:
            if not 1 <= self.quality <= 100:
                raise ConfigError(f"quality={self.quality}; 1 to 100 is expected")

    def transform(self, images: Tensor, draws: Draws) -> Tensor:
        """Compress each image."""
        sent = as_sent(images.detach(), "jpeg", self.config.quality)
        assert isinstance(sent, Tensor)
        return straight_through(sent, images)
