"""A host's module made ready to run: traced, fused, and with the executor that shares what a batch has in common."""

import torch
from torch import Tensor, fx, nn

from reprogram.engine.aliasing import has_one_input
from reprogram.engine.executor import Executor
from reprogram.engine.fuse import fuse
from reprogram.engine.half import converted
from reprogram.engine.label_subset import keep_labels
from reprogram.framed import Framed

MAX_HEADS = 4
"""Number of label selections for which a host without the other labels is kept."""


class Prepared:
    """A host's module made ready to run.

    Attributes:
        module: the traced and fused module, which computes the same as `net`; `net` itself where that isn't possible.
        executor: the executor for `Framed` batches; None where `net` couldn't be traced.

    Args:
        net: a frozen module in evaluation mode; it isn't changed.
        dtype: the type to compute in; None for that of the module's weights.
        as_is: whether the module isn't to be traced.
    """

    def __init__(self, net: nn.Module, dtype: torch.dtype | None = None, as_is: bool = False) -> None:
        self.module = net if as_is else fuse(net)
        if dtype is not None:
            self.module = converted(self.module, dtype)
        self.executor = None if as_is else _executor(self.module)
        self._heads: dict[tuple[int, ...], tuple[nn.Module, Executor | None] | None] = {}
        self._read: tuple[Tensor, int, tuple[int, ...]] | None = None

    @property
    def shares(self) -> bool:
        """Whether the frame of a `Framed` batch is computed once; otherwise each image runs whole."""
        return self.executor is not None

    def forget(self) -> None:
        """Drop what is kept of the last frame."""
        if self.executor is not None:
            self.executor.store.clear()

    def __call__(self, images: Tensor | Framed) -> Tensor:
        """Scores of normalised images, b × K; an executor computes the frame of a `Framed` batch once."""
        return _run(self.module, self.executor, images)

    def some(self, images: Tensor | Framed, labels: Tensor, num_labels: int) -> Tensor | None:
        """Scores of some labels alone.

        Args:
            images: normalised images.
            labels: m indices in [0, K).
            num_labels: K, the number of the host's labels.

        Returns:
            b × m scores; None where all scores have to be computed.
        """
        key = self._numbers(labels)
        if key not in self._heads:
            if len(self._heads) >= MAX_HEADS:
                self._heads.pop(next(iter(self._heads)))
            module = keep_labels(self.module, labels, num_labels) if isinstance(self.module, fx.GraphModule) else None
            self._heads[key] = (module, _executor(module)) if module is not None else None
        head = self._heads[key]
        return None if head is None else _run(*head, images)

    def _numbers(self, labels: Tensor) -> tuple[int, ...]:
        """The labels as numbers; those on a GPU are read once, since reading waits for all of its work."""
        if labels.device.type == "cpu" or labels.is_inference():
            return tuple(labels.tolist())
        if self._read is not None:
            last, version, key = self._read  # While it is held, no other tensor gets its memory.
            if last.data_ptr() == labels.data_ptr() and last.shape == labels.shape and version == labels._version:
                return key
        key = tuple(labels.tolist())
        self._read = labels, labels._version, key
        return key


def _executor(module: nn.Module) -> Executor | None:
    """The executor of a traced module with one input; None for any other module."""
    return Executor(module) if isinstance(module, fx.GraphModule) and has_one_input(module) else None


def _run(module: nn.Module, executor: Executor | None, images: Tensor | Framed) -> Tensor:
    """The module's scores, by the executor where the batch is `Framed` and there is one."""
    if isinstance(images, Framed):
        if executor is not None:
            return executor(images)
        images = images.dense()  # In the memory layout that the module itself expects.
    scores: Tensor = module(images)
    return scores
