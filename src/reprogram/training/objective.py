"""The loss of a step's batch, as a learner asks for it: in microbatches, and on a GPU replayed from a graph."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from reprogram.model import Reprogrammed
from reprogram.tasks._split import Split
from reprogram.training.cuda_graph import GraphedLoss
from reprogram.training.losses import loss_of, losses_of
from reprogram.training.microbatch import mean_loss, microbatches
from reprogram.types import LossKind
from reprogram.utils.distributed import ProcessGroup


class BatchObjective:
    """Makes the objective of each step.

    Args:
        model: the model that is learned.
        loss: which loss.
        num_microbatches: the number of microbatches that a batch is computed in.
        group: the processes that learn together.
        cuda_graphs: whether a step may be recorded and replayed, on a GPU.
    """

    def __init__(
        self, model: Reprogrammed, loss: LossKind, *, num_microbatches: int, group: ProcessGroup, cuda_graphs: bool
    ) -> None:
        self.model, self.loss, self.num_microbatches, self.group = model, loss, num_microbatches, group
        self.parameters = model.learned_parameters()
        # A label map that is refitted is no part of a recorded step.
        fixed = model.label_map.refit_schedule == "never" and num_microbatches == group.size == 1
        on_gpu = model.canvas.frame.is_cuda
        self.graphed = GraphedLoss(model, loss) if cuda_graphs and fixed and on_gpu else None

    def of(self, batch: Callable[[slice], Split], n: int) -> "StepObjective":
        """The objective of a batch.

        Args:
            batch: some rows of the batch.
            n: images of the batch.
        """
        return StepObjective(self, batch, n)


class StepObjective:
    """The objective of one batch: its mean loss, and the losses of its images at several points.

    Args:
        maker: knows the model, the loss and the processes.
        batch: some rows of the batch.
        n: images of the batch.

    Attributes:
        host_scores: n × K, for each image the first scores that the host gave it in this process, zeros before; None
            where the label map doesn't follow them.
    """

    def __init__(self, maker: BatchObjective, batch: Callable[[slice], Split], n: int) -> None:
        self.maker, self.batch, self.n = maker, batch, n
        label_map = maker.model.label_map
        shape, dtype = (n, label_map.num_host_labels), maker.parameters[0].dtype
        self.host_scores = torch.zeros(shape, dtype=dtype) if label_map.follows_steps else None
        self._listened = torch.zeros(n, dtype=torch.bool)

    @property
    def num_images(self) -> int:
        """The images of the batch."""
        return self.n

    def __call__(self) -> Tensor:
        """The mean loss of the batch at the parameters' current values, a scalar, once differentiable."""
        maker = self.maker
        return mean_loss(self._mean_loss, self.n, maker.num_microbatches, maker.parameters, maker.group)

    def losses(self, points: Tensor, images: slice) -> Tensor:
        """The loss of each image at each of several points, without a gradient; the parameters stay as they are.

        An image is always computed in a microbatch of the same images, so that any number of processes comes to the
        same bits.

        Args:
            points: p × d, values of all learned numbers.
            images: which images of the batch, from `start` to `stop`.

        Returns:
            p × m losses in nats, for m images.

        Raises:
            ProcessLostError: another process is gone.
        """
        maker, count = self.maker, images.stop - images.start
        size = -(-self.n // maker.num_microbatches)
        parts = maker.group.shard_list(microbatches(count, -(-count // size)))
        table = points.new_zeros(len(points), count)
        current = parameters_to_vector(maker.parameters).detach().clone()
        try:
            with torch.no_grad():
                for row, point in zip(table, points, strict=True):
                    vector_to_parameters(point, maker.parameters)
                    for part in parts:
                        row[part] = self._losses(slice(images.start + part.start, images.start + part.stop))
        finally:
            vector_to_parameters(current, maker.parameters)
        return maker.group.all_reduce(table)

    def _mean_loss(self, rows: slice) -> Tensor:
        maker, part = self.maker, self.batch(rows)
        if maker.graphed is not None and torch.is_grad_enabled():
            return maker.graphed.replayed(part.images, part.labels)
        return loss_of(maker.model, part.images, part.labels, maker.loss, self._listener(rows))

    def _losses(self, rows: slice) -> Tensor:
        maker, part = self.maker, self.batch(rows)
        return losses_of(maker.model, part.images, part.labels, maker.loss, self._listener(rows))

    def _listener(self, rows: slice) -> Callable[[Tensor], None] | None:
        """What keeps the host scores of some rows; None where nobody wants them, or they are known already."""
        host_scores = self.host_scores
        if host_scores is None or bool(self._listened[rows].all()):
            return None

        def keep(scores: Tensor) -> None:
            host_scores[rows] = scores.cpu()
            self._listened[rows] = True

        return keep
