"""The images that validations look at, and the scores that a model gives them."""

from collections.abc import Callable

import torch
from torch import Tensor

from reprogram.evaluation.predict import predict
from reprogram.learners.base import Learner
from reprogram.model import Reprogrammed
from reprogram.tasks._split import Split, stratified
from reprogram.training.options import FitOptions
from reprogram.utils.distributed import ProcessGroup

LEAST_IMAGES = 250
"""The fewest images of a validation whose number follows the budget: the standard error of their accuracy is 0.03."""


REQUEST_IMAGES = 16
"""The images of a request by which a budget of requests is taken for one of images, where validations are planned."""


def num_validation_images(options: FitOptions, *, learned: float, available: int, views: int = 1) -> int:
    """How many images each validation looks at.

    Args:
        options: the run's options.
        learned: the training images that the run learns from, repeats counted, as far as that is known.
        available: images of the validation split.
        views: how many images of the host the program makes of each.

    Returns:
        What the option `validation_images` says, 1 to `available`. For "auto" as many as are learned from between two
        validations, but at least `LEAST_IMAGES`. With a budget of queries, requests or money all validations together
        get a fifth of it, and each of them at least `LEAST_IMAGES` or a twentieth of the budget, whichever is less.
    """
    if options.validation_images == "all":
        return available
    budget = options.budget
    limits = [budget.host_images, None if budget.requests is None else budget.requests * REQUEST_IMAGES]
    limit = min((limit // views for limit in limits if limit is not None), default=None)
    if options.validation_images == "auto" and limit is not None:
        least = min(LEAST_IMAGES, max(limit // 20, 1))
        return min(max(limit // (5 * options.validations), least), available)
    if options.validation_images == "auto":
        return min(max(round(learned / options.validations), LEAST_IMAGES), available)
    return min(options.validation_images, available)


class Validator:
    """Computes the scores of the validation images: all of the split, or a stratified sample, always the same one.

    Args:
        model: the model that is learned.
        learner: the learner, whose weights of evaluation are measured.
        split: the validation split, on the model's device.
        seed: the run's, which decides the sample.
        group: the processes that learn together; each computes its shard.
    """

    def __init__(self, model: Reprogrammed, learner: Learner, split: Split, seed: int, group: ProcessGroup) -> None:
        self.model, self.learner, self.split, self.seed, self.group = model, learner, split, seed, group
        self.indices = torch.arange(len(split), device=split.labels.device)

    def choose(self, count: int) -> None:
        """Look at a sample of the split from now on.

        Args:
            count: the number of its images, 1 to all of the split.
        """
        if count != len(self.indices):
            self.indices = stratified(self.split.labels, count, self.seed)

    @property
    def labels(self) -> Tensor:
        """The classes of the validation images, on the CPU."""
        return self.split.labels[self.indices].cpu()

    def scores(
        self, step: int, stop: Callable[[], bool], on_batch: Callable[[float], None] = lambda _: None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scores that this process computes, and the learned state that gives them.

        Args:
            step: of the run; a host that only answers is first checked to be the one that it was.
            stop: asked before each batch; once it is true, nothing more is computed.
            on_batch: called after each batch with the part of its images that this process has computed.

        Returns:
            The n × k task scores of this process's shard, on the CPU, and copies of the learned tensors by name.
        """
        shard = self.split.take(self.group.shard(self.indices))
        self.model.host.check_unchanged(f"step {step}")
        with self.learner.eval_weights():
            scores = predict(self.model, shard, stop=stop, on_batch=lambda n: on_batch(n / max(len(shard), 1)))
            learned_state = self.model.learned_state()
        return (scores if len(scores) else torch.empty(0, len(self.model.task.classes))), learned_state

    def of_all_processes(self, scores: Tensor) -> Tensor:
        """The scores of all validation images.

        Args:
            scores: this process's, as `scores` returns them.

        Returns:
            n × k task scores, in every process.
        """
        return self.group.all_gather(scores, len(self.indices))
