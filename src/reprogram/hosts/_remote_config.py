"""The options that all remote hosts have."""

from dataclasses import dataclass
from typing import Literal

from reprogram.errors import ConfigError
from reprogram.hosts._encoding import Encoding
from reprogram.hosts._info import check_sizes
from reprogram.hosts._shown import Kind
from reprogram.types import Access

TUNING = {"sentinels", "batch", "concurrency", "timeout", "retries"}
"""The options that say how a service is asked, and nothing about what it answers."""

ACCESS: dict[str, Access] = {"scores": "scores", "topk": "top-k", "label": "label"}


@dataclass(frozen=True, kw_only=True)
class RemoteConfig:
    """The options that all remote hosts have.

    Attributes:
        size: height and width of the images that are sent, in pixels.
        channels: of the images: 3, or 1 for grey ones.
        class_names: the labels that are known from the start, in the order of the scores.
        num_classes: the most labels; those beyond `class_names` are found as they appear. By default as many as there
            are names.
        access: `scores` shows all labels, `topk` some of them, `label` one, without a number.
        kind: the numbers: `logits`, `probabilities`, `percent`, or `independent` ones.
        decimals: that the service rounds its numbers to; None for all.
        encoding: of images that are sent as files: `png`, or `jpeg`, which loses something.
        quality: of JPEG, 1 to 100.
        sentinels: the number of fixed images that are asked again at each validation, and counted: the service must
            answer them as it did at the start; 0 for none.
        batch: the most images of a request; 0 for as many as the format usually takes.
        concurrency: the most requests under way at once.
        timeout: the most seconds of a try.
        retries: the most tries of a request after its first.
    """

    size: int = 224
    channels: int = 3
    class_names: tuple[str, ...] = ()
    num_classes: int = 0
    access: Literal["scores", "topk", "label"] = "topk"
    kind: Kind = "probabilities"
    decimals: int | None = None
    encoding: Encoding = "png"
    quality: int = 95
    sentinels: int = 2
    batch: int = 0
    concurrency: int = 4
    timeout: float = 30.0
    retries: int = 10

    def __post_init__(self) -> None:
        check_sizes(size=self.size, num_classes=self.num_classes)
        if self.channels not in (1, 3):
            raise ConfigError(f"channels={self.channels}; 1 or 3 is expected")
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"quality={self.quality}; 1 to 100 is expected")
        if not (0 <= self.batch <= 4096 and 1 <= self.concurrency <= 64 and 0 <= self.retries <= 100):
            raise ConfigError(
                f"batch={self.batch}, concurrency={self.concurrency}, retries={self.retries}; 0 to 4096, 1 to 64 and 0 "
                "to 100 are expected"
            )
        if not 0 <= self.sentinels <= 100:
            raise ConfigError(f"sentinels={self.sentinels}; 0 to 100 are expected")
        if not 0 < self.timeout <= 3600:
            raise ConfigError(f"timeout={self.timeout}; more than 0 and at most 3600 seconds are expected")
        if self.decimals is not None and not 0 <= self.decimals <= 12:
            raise ConfigError(f"decimals={self.decimals}; 0 to 12 are expected")
        if len(set(self.class_names)) != len(self.class_names):
            raise ConfigError("class_names: a name occurs twice")
        if 0 < self.num_classes < len(self.class_names):
            raise ConfigError(f"num_classes={self.num_classes} is less than the {len(self.class_names)} class_names")
