"""The loss of a step's batch, as a learner asks for it: in microbatches, and on a GPU replayed from a graph."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from reprogram.errors import ConfigError
from reprogram.labelmaps.base import LabelMap
from reprogram.model import Reprogrammed
from reprogram.tasks._split import Split
from reprogram.training.cuda_graph import GraphedLoss
from reprogram.training.losses import loss_named, loss_of, losses_of
from reprogram.training.microbatch import mean_loss, microbatches
from reprogram.training.options import FitOptions
from reprogram.utils.distributed import ProcessGroup


class BatchObjective:
    """Makes the objective of each step.

    Args:
        model: the model that is learned.
        options: the run's options, the loss among them.
        num_microbatches: the number of microbatches that a batch is computed in; a loss of the whole batch is computed
            at once.
        group: the processes that learn together.

    Raises:
        ConfigError: several processes learn with a loss of the whole batch.
    """

    def __init__(self, model: Reprogrammed, options: FitOptions, num_microbatches: int, group: ProcessGroup) -> None:
        loss = options.loss
        if loss_named(loss).whole_batch:
            if group.size > 1:
                raise ConfigError(f"loss {loss!r} compares the images of a whole batch; learn in one process")
            num_microbatches = 1
        self.model, self.loss, self.num_microbatches, self.group = model, loss, num_microbatches, group
        self.parameters = model.learned_parameters()
        # A label map that is refitted is no part of a recorded step, nor is what draws at random.
        fixed = model.label_map.refit_schedule == "never" and num_microbatches == group.size == 1
        fixed = fixed and model.host.guard is None and not model.program.varies
        on_gpu = model.canvas.frame.is_cuda
        self.graphed = GraphedLoss(model, loss) if options.cuda_graphs and fixed and on_gpu else None

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
    """

    def __init__(self, maker: BatchObjective, batch: Callable[[slice], Split], n: int) -> None:
        self.maker, self.batch, self.n = maker, batch, n
        self._tables: list[tuple[slice, Tensor]] = []  # Which images were asked at a point, and their host scores.
        self._exchanged = 0  # The number of tables that all processes have.

    @property
    def num_images(self) -> int:
        """The images of the batch."""
        return self.n

    @property
    def whole_batch(self) -> bool:
        """Whether an image's loss depends on the images that are asked with it."""
        return loss_named(self.maker.loss).whole_batch

    def __call__(self) -> Tensor:
        """The mean loss of the batch at the parameters' current values, a scalar, once differentiable."""
        maker, keep = self.maker, self._keeper(slice(0, self.n))

        def microbatch_loss(rows: slice) -> Tensor:
            part = self.batch(rows)
            if maker.graphed is not None and torch.is_grad_enabled():
                return maker.graphed.replayed(part.images, part.labels)
            return loss_of(maker.model, part.images, part.labels, maker.loss, keep and keep(rows))

        loss = mean_loss(microbatch_loss, self.n, maker.num_microbatches, maker.parameters, maker.group)
        self._exchange()
        return loss

    def losses(self, points: Tensor, images: slice) -> Tensor:
        """The loss of each image at each of several points, without a gradient; the parameters stay as they are.

        An image is always computed in a microbatch of the same images, so that any number of processes comes to the
        same bits. A loss of the whole batch is computed of the images that are asked for.

        Args:
            points: p × d, values of all learned numbers.
            images: which images of the batch, from `start` to `stop`.

        Returns:
            p × m losses, for m images.

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
                    keep = self._keeper(images)
                    for part in parts:
                        split = self.batch(slice(images.start + part.start, images.start + part.stop))
                        row[part] = losses_of(maker.model, split.images, split.labels, maker.loss, keep and keep(part))
        finally:
            vector_to_parameters(current, maker.parameters)
        self._exchange()
        return maker.group.all_reduce(table)

    def inform(self, label_map: LabelMap, labels: Tensor) -> None:
        """Give a label map that follows the steps all answers of this one; they are paid for.

        Points of a step lie around the one that it starts from, and are asked on the same images: each answer to an
        image counts 1 over their number.

        Args:
            label_map: the model's.
            labels: b classes of the batch's images.
        """
        if not self._tables:
            return
        scores = torch.cat([table for _, table in self._tables])
        images = torch.cat([torch.arange(rows.start, rows.stop) for rows, _ in self._tables])
        counts = images.bincount(minlength=self.n)[images]
        label_map.on_step(
            scores, labels[images.to(labels.device)], None if int(counts.max()) == 1 else 1 / counts.double()
        )

    def _exchange(self) -> None:
        """Let every process have all answers, before the learner changes anything: a lost process is met here."""
        for number in range(self._exchanged, len(self._tables)):
            rows, table = self._tables[number]
            self._tables[number] = rows, self.maker.group.all_reduce(table)
        self._exchanged = len(self._tables)

    def _keeper(self, images: slice) -> Callable[[slice], Callable[[Tensor], None]] | None:
        """A function that gives what keeps the host scores of some of these images; None where nobody wants them."""
        label_map = self.maker.model.label_map
        if not label_map.follows_steps:
            return None
        shape = images.stop - images.start, label_map.num_host_labels
        table = torch.zeros(shape, dtype=self.maker.parameters[0].dtype)
        self._tables.append((images, table))

        def keep(rows: slice) -> Callable[[Tensor], None]:
            def listen(scores: Tensor) -> None:
                table[rows] = scores.cpu()

            return listen

        return keep
