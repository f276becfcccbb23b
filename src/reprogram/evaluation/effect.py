"""What a program does to the host's scores: whether it is more than a constant shift, which is all on a linear host."""

import torch
from jaxtyping import UInt8
from torch import Tensor

from reprogram.model import Reprogrammed

IMAGES = 16
"""Images that the effect is measured on, at the most: evenly spaced ones, as many tasks hold theirs class by class."""


def num_asked(model: Reprogrammed, images: int) -> int:
    """The images that `program_effect` asks the host for, with and without the program together.

    Args:
        model: the model.
        images: n, as `program_effect` is given them.
    """
    return 0 if model.program.num_groups > 1 else 2 * len(range(0, images, -(-images // IMAGES)))


@torch.no_grad()
def program_effect(model: Reprogrammed, images: UInt8[Tensor, "n c h w"]) -> dict[str, float | int] | None:
    """How much that which a program adds to the host's scores differs among images.

    On a linear host A the scores are A(x + p) + b = (A x + b) + A p: every image gets the same A p.

    Args:
        model: the model.
        images: n × c × h × w task images; at most `IMAGES` of them are used.

    Returns:
        The value of a result's field `program_effect`: `spread`, the deviation of what the program adds from its mean
        over the images, as a part of the scores' own deviation from theirs (0 for a constant shift), and `n`. None
        where the program adds nothing at all, the images' scores don't differ, or each view has scores of its own.
    """
    if model.program.num_groups > 1:
        return None
    images = images[:: -(-len(images) // IMAGES)].to(model.canvas.frame.device)
    bare = model.host(model.canvas(images)).cpu().double()
    effect = model.host_scores(images).cpu().double() - bare
    own = torch.linalg.norm(bare - bare.mean(dim=0))
    if not (float(own) > 0 and float(effect.abs().max()) > 0):
        return None
    # ‖effect − its mean‖ / ‖scores − their mean‖
    return {"spread": float(torch.linalg.norm(effect - effect.mean(dim=0)) / own), "n": len(images)}
