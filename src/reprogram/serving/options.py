"""The options of serving. This module imports neither torch nor a web framework: a command line is read before that."""

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from reprogram.errors import ConfigError

Answers = Literal["all", "scores", "topk", "label"]
"""What clients see: everything; the numbers of all labels; the first labels with theirs; the first label alone."""

NumberKind = Literal["logits", "probabilities", "percent", "independent"]
"""The numbers that a service shows (`hosts/_shown.py`)."""

MOST_DECIMALS = 12
"""The most decimals that numbers can be rounded to."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A name under which a program is asked; it is a part of addresses."""


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """How programs are served.

    Each field is a keyword of `reprogram.serve` and a flag of `reprogram serve`.

    Attributes:
        address: that the server listens on; by default this machine alone can reach it.
        port: that it listens on, 0 for any that is free.
        answers: what clients see: `all` of logits, probabilities and labels; as a black-box service `scores`, the
            numbers of all labels, `topk`, the first k labels with their numbers, or `label`, the first one without.
        k: the number of labels that `topk` shows; refused with other answers.
        kind: the numbers of a black-box service: `logits`, `probabilities`, `percent`, or `independent` sigmoids.
        round: the decimals of a black-box service's numbers; all by default.
        noise: the standard deviation of noise on a black-box service's numbers, in units of `kind`.
        rate: the questions (POST) a second that a client may send, by bearer token or address; no limit by default.
        on_alarm: what the alarm of a detector does: `log` writes a line and counts it, `refuse` also answers 429.
        batch: the most images that are computed at once.
        queue: the most images that wait; who sends more is asked to come again.
        max_bytes: the largest body of a request.
        max_pixels: the most pixels of an image file.
        stop_within: seconds after which a server that was told to stop no longer waits for answers under way.
    """

    address: str = "127.0.0.1"
    port: int = 8000
    answers: Answers = "all"
    k: int = 5
    kind: NumberKind = "probabilities"
    round: int | None = None
    noise: float = 0.0
    rate: float | None = None
    on_alarm: Literal["log", "refuse"] = "log"
    batch: int = 32
    queue: int = 2048
    max_bytes: int = 32 * 2**20
    max_pixels: int = 25_000_000
    stop_within: float = 120.0

    def __post_init__(self) -> None:
        limits = {
            "port": (0, 65535), "k": (1, 100_000), "batch": (1, 4096), "queue": (1, 65536),
            "max_bytes": (1024, 2**30), "max_pixels": (1, 100_000_000),
        }  # fmt: skip
        for name, (least, most) in limits.items():
            if not least <= (value := getattr(self, name)) <= most:
                raise ConfigError(f"{name}={value}; a number from {least:,} to {most:,} is expected")
        if self.round is not None and not 0 <= self.round <= MOST_DECIMALS:
            raise ConfigError(f"round={self.round}; 0 to {MOST_DECIMALS} decimals are expected")
        if not 0 <= self.noise < math.inf:
            raise ConfigError(f"noise={self.noise}; 0 or a positive standard deviation is expected")
        for name in ("rate", "stop_within"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name}={value}; a positive number is expected")
        if self.k != type(self).k and self.answers != "topk":
            raise ConfigError(f"k={self.k}: only answers=topk shows the first k labels, not answers={self.answers}")
        if self.batch > self.queue:
            raise ConfigError(f"queue={self.queue} is less than batch={self.batch}; a batch has to fit into it")

    @classmethod
    def option_fields(cls) -> "tuple[dataclasses.Field[Any], ...]":
        """The fields, which flags are made from."""
        return dataclasses.fields(cls)

    def num_shown(self, labels: int) -> int:
        """The labels of an image that a client sees.

        Args:
            labels: k, all that there are.
        """
        return min(labels, {"topk": self.k, "label": 1}.get(self.answers, labels))

    @property
    def is_black_box(self) -> bool:
        """Whether clients see less than all."""
        return self.answers != "all" or self.round is not None or self.noise > 0 or self.kind != "probabilities"
