"""The loss of a step's batch, as a learner asks for it: in microbatches, and on a GPU replayed from a graph."""

from collections.abc import Callable

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.learners.base import Objective
from reprogram.model import Reprogrammed
from reprogram.tasks._split import Split
from reprogram.training.cuda_graph import GraphedLoss
from reprogram.training.losses import loss_named, loss_of
from reprogram.training.microbatch import mean_loss
from reprogram.types import LossKind
from reprogram.utils.distributed import ProcessGroup


class BatchObjective:
    """Makes the objective of each step.

    Args:
        model: the model that is learned.
        loss: the spec of the loss.
        num_microbatches: the number of microbatches that a batch is computed in; a loss of the whole batch is computed
            at once.
        group: the processes that learn together.
        cuda_graphs: whether a step may be recorded and replayed, on a GPU.

    Raises:
        ConfigError: several processes learn with a loss of the whole batch.
    """

    def __init__(
        self, model: Reprogrammed, loss: LossKind, *, num_microbatches: int, group: ProcessGroup, cuda_graphs: bool
    ) -> None:
        if loss_named(loss).whole_batch:
            if group.size > 1:
                raise ConfigError(f"loss {loss!r} compares the images of a whole batch; learn in one process")
            num_microbatches = 1
        self.model, self.loss, self.num_microbatches, self.group = model, loss, num_microbatches, group
        self.parameters = model.learned_parameters()
        # A label map that is refitted is no part of a recorded step.
        fixed = model.label_map.refit_schedule == "never" and num_microbatches == group.size == 1
        on_gpu = model.canvas.frame.is_cuda
        self._graphed = GraphedLoss(model, loss) if cuda_graphs and fixed and on_gpu else None

    def of(self, batch: Callable[[slice], Split], n: int) -> tuple[Objective, Tensor | None]:
        """A function that gives the mean loss of a batch, and the host scores that its first call fills.

        Args:
            batch: some rows of the batch.
            n: images of the batch.

        Returns:
            The objective, and n × K zeros for the host scores; None where the label map doesn't follow them.
        """
        label_map, num_calls = self.model.label_map, 0
        shape, dtype = (n, label_map.num_host_labels), self.parameters[0].dtype
        host_scores = torch.zeros(shape, dtype=dtype) if label_map.follows_steps else None

        def microbatch_loss(rows: slice) -> Tensor:
            def keep(scores: Tensor) -> None:
                assert host_scores is not None
                host_scores[rows] = scores.cpu()

            part = batch(rows)
            if self._graphed is not None and torch.is_grad_enabled():
                return self._graphed.replayed(part.images, part.labels)
            listen = keep if host_scores is not None and num_calls == 1 else None  # A learner may call it repeatedly.
            return loss_of(self.model, part.images, part.labels, self.loss, listen)

        def objective() -> Tensor:
            nonlocal num_calls
            num_calls += 1
            return mean_loss(microbatch_loss, n, self.num_microbatches, self.parameters, self.group)

        return objective, host_scores
