"""Each task label is a host label drawn at random, no two the same."""

from dataclasses import dataclass

from reprogram.labelmaps.base import GroupMap
from reprogram.utils.seeding import permutation


class Random(GroupMap):
    """A random one-to-one map ("RLM" of Chen et al., 2023)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            seed: decides the host labels.
        """

        seed: int = 0

    def __init__(self, config: Config, *, num_host_labels: int, num_task_labels: int) -> None:
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.require_host_labels(num_task_labels)
        labels = permutation(num_host_labels, config.seed, first=num_task_labels)
        self.set_groups(labels.view(-1, 1))
