"""The type that a program's host computes in when it answers."""

import torch

from reprogram.hosts import _half
from reprogram.model import Reprogrammed
from reprogram.types import Precision
from reprogram.utils.seeding import seeded

NUM_IMAGES = 2
"""On how many task images of noise half precision is compared with float32."""


def set_precision(model: Reprogrammed, precision: Precision) -> None:
    """Let a model's host compute in a type. "auto" is float32 where half precision would change its scores too much.

    The host's meter counts nothing of it.

    Args:
        model: the model; its host's precision is changed.
        precision: the type.

    Raises:
        ConfigError: the host can't compute in that type.
    """
    host = model.host
    host.precision = precision
    device = host.mean.device
    noise = torch.Generator().manual_seed(0)
    images = torch.randint(256, (NUM_IMAGES, *model.task.shape), generator=noise, dtype=torch.uint8).to(device)

    @torch.no_grad()
    def answer() -> None:
        model(images)

    with seeded(None, device):
        _half.settle_precision(host, answer, lambda: model.program(model.canvas(images)))
