"""In how many processes of one thread a run learns on a CPU, and the group that they form.

A step is many small operations, of which a second thread makes little. A second process, which computes half of the
batch with one thread, makes more of its core, although it computes anew what the images share.
"""

import contextlib
from collections.abc import Iterator

from reprogram.errors import ConfigError
from reprogram.learners.base import Learner
from reprogram.model import Reprogrammed
from reprogram.training.losses import loss_named, settled
from reprogram.training.options import FitOptions
from reprogram.utils.distributed import ProcessGroup
from reprogram.utils.forks import can_fork, forked
from reprogram.utils.messages import shown

LEAST_IMAGES = 2
"""The fewest images of a batch for which a process more is worth what the images share."""


def num_processes(
    wanted: int, model: Reprogrammed, learner: type[Learner], options: FitOptions, *, num_train: int
) -> int:
    """The number of processes that a run learns in; 1 where more can't come to the same numbers and the same bill.

    Args:
        wanted: the most.
        model: the model that is learned.
        learner: the class of what improves it.
        options: the run's options.
        num_train: images of the training split.

    Raises:
        ConfigError: `wanted` is no whole number from 1 on.
    """
    if not isinstance(wanted, int) or wanted < 1:
        raise ConfigError(f"processes={shown(wanted)}; a whole number from 1 on is expected")
    host, budget = model.host, options.budget
    counted = budget.host_images is not None or options.requests is not None or host.meter.total_limit is not None
    alike = host.info.access == "gradient" and host.answers is None and host.guard is None and not counted
    by_gradient = learner.access == "gradient" and bool(model.learned_parameters())
    if not (alike and by_gradient and model.canvas.frame.device.type == "cpu" and can_fork()):
        return 1
    if loss_named(settled(options.loss, model.label_map)).whole_batch:
        return 1
    batch_size = min(options.settled_batch_size(len(model.task.classes)), num_train)
    return max(1, min(wanted, batch_size // LEAST_IMAGES, options.num_microbatches or batch_size))


@contextlib.contextmanager
def learning_together(launched: ProcessGroup, count: int) -> Iterator[ProcessGroup]:
    """The processes that learn together in the block.

    Args:
        launched: those that were started for it; where there are several, they are it.
        count: otherwise, this one and its forks; they end with the block.

    Yields:
        The group.
    """
    if launched.size > 1 or count == 1:
        yield launched
        return
    with forked(count) as group:
        yield group
