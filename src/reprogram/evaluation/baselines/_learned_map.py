"""A label map that gradients learn from host scores alone: the host is asked once for each image."""

import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from reprogram.labelmaps.base import LabelMap
from reprogram.utils.seeding import epoch_order

LEARNING_RATE, BATCH_SIZE = 0.05, 16
"""Those of the learner `adam` and of a step."""
PASSES = 5
"""The passes over the scores, at the least."""


def learn_map(
    label_map: LabelMap, scores: Float[Tensor, "n K"], labels: Int[Tensor, " n"], images_seen: int = 0
) -> LabelMap:
    """A copy of a label map that is learned by the mean cross-entropy, with Adam, whose steps fall along a cosine.

    Args:
        label_map: the map as it is before the first step; it isn't changed.
        scores: n × K host scores, on the CPU.
        labels: n class indices.
        images_seen: how many images the steps see, repeats counted; `PASSES` over all of them at the least.

    Returns:
        The learned copy, on the CPU.
    """
    label_map = copy.deepcopy(label_map).cpu().train()
    if label_map.refit_schedule == "once":
        first = slice(label_map.fit_images)
        label_map.update(scores[first].double(), labels[first])
        label_map.fit_from_statistics()
    steps_per_pass = -(-len(labels) // BATCH_SIZE)
    steps = max(-(-images_seen // BATCH_SIZE), PASSES * steps_per_pass)
    optimizer = torch.optim.Adam(label_map.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        epoch, position = divmod(step, steps_per_pass)
        if position == 0:
            batches = torch.split(epoch_order(len(labels), 0, epoch), BATCH_SIZE)
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(label_map(scores[batches[position]]), labels[batches[position]]))
        optimizer.step()
        schedule.step()
    return label_map.eval()
