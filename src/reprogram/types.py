"""Names that several layers share. Doesn't import torch."""

from typing import Literal

Access = Literal["gradient", "scores", "top-k", "label"]
"""What a host gives away, the most first."""

EngineName = Literal["shared", "dense"]
"""How a host runs `Framed` batches: what the batch shares is computed once, or every image is computed whole."""

Precision = Literal["float32", "bfloat16", "float16", "auto"]
"""The type that a host computes in; "auto" is what the device multiplies fastest, bfloat16 or float32."""

SampleSize = int | Literal["all"]
"""How many images of a split are looked at: a stratified sample of so many, or all of them."""

Sampling = Literal["stratified", "shuffled"]
"""The order of an epoch: the images of each class spread evenly over it, or all of them at random."""

LossKind = str
"""What learning minimises: the spec of a loss, or "auto", for which `reprogram.training.losses` chooses one."""

RANK: tuple[Access, ...] = ("label", "top-k", "scores", "gradient")
"""The kinds of access, the least first."""
