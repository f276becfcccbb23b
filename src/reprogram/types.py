"""Names that several layers share. Doesn't import torch."""

from typing import Literal

Access = Literal["gradient", "scores", "top-k", "label"]
"""What a host gives away, the most first."""

EngineName = Literal["shared", "dense"]
"""How a host runs `Framed` batches: what the batch shares is computed once, or every image is computed whole."""

LossKind = Literal["task", "smoothed", "host"]
"""What learning minimises; `reprogram.training.losses` says what each is."""

RANK: tuple[Access, ...] = ("label", "top-k", "scores", "gradient")
"""The kinds of access, the least first."""
