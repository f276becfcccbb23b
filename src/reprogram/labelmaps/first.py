"""Task label i is host label i: the first k host labels, as in the 2018 paper."""

import torch

from reprogram.labelmaps.base import GroupMap


class First(GroupMap):
    """The first k host labels: on ImageNet 0 is "tench", 1 is "goldfish" (paper, figure 1)."""

    def __init__(self, config: object, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.require_host_labels(num_task_labels)
        self.set_groups(torch.arange(num_task_labels).view(-1, 1))
