"""Runs hosts faster without changing what they compute.

`fold.py` folds BatchNorm into convolutions. `execute.py` runs a traced host on a `Framed` batch: what the batch shares
once, the window for each image; `rules/` says how, one function an operation.
"""

from torch import Tensor, fx, nn

from reprogram.engine.aliasing import has_one_input
from reprogram.engine.execute import Executor
from reprogram.engine.fold import fold
from reprogram.engine.heads import only
from reprogram.framed import Framed

MAX_HEADS = 4
"""How many choices of labels are kept ready."""


class Prepared:
    """A host's module made ready to run.

    Attributes:
        module: computes the same as the module given; folded and traced where that is possible.
        executor: runs it on `Framed` batches; None where it couldn't be traced.

    Args:
        net: a frozen module in evaluation mode; it isn't changed.
    """

    def __init__(self, net: nn.Module) -> None:
        self.module = fold(net)
        self.executor = _executor(self.module)
        self._heads: dict[tuple[int, ...], tuple[nn.Module, Executor | None] | None] = {}

    @property
    def shares(self) -> bool:
        """Whether `Framed` batches are shared; otherwise each image runs whole."""
        return self.executor is not None

    def __call__(self, images: Tensor | Framed) -> Tensor:
        """Scores of normalised images; a `Framed` batch is shared as far as the module could be traced."""
        return _run(self.module, self.executor, images)

    def some(self, images: Tensor | Framed, labels: Tensor, num_labels: int) -> Tensor | None:
        """Scores of some labels alone, b × m; None where all have to be computed.

        Args:
            images: normalised.
            labels: m indices.
            num_labels: K.
        """
        key = tuple(labels.tolist())
        if key not in self._heads:
            if len(self._heads) >= MAX_HEADS:
                self._heads.pop(next(iter(self._heads)))
            module = only(self.module, labels, num_labels) if isinstance(self.module, fx.GraphModule) else None
            self._heads[key] = (module, _executor(module)) if module is not None else None
        head = self._heads[key]
        return None if head is None else _run(*head, images)


def _executor(module: nn.Module) -> Executor | None:
    return Executor(module) if isinstance(module, fx.GraphModule) and has_one_input(module) else None


def _run(module: nn.Module, executor: Executor | None, images: Tensor | Framed) -> Tensor:
    if isinstance(images, Framed):
        if executor is not None:
            return executor(images)
        images = images.dense()  # In the layout that the module itself expects.
    scores: Tensor = module(images)
    return scores


__all__ = ["Prepared"]
