"""Runs hosts faster without changing what they compute.

`fold.py` folds BatchNorm into convolutions. `execute.py` runs a traced host on a `Framed` batch: what the batch shares
once, the window for each image; `rules.py` says how, one function an operation.
"""

from torch import Tensor, fx, nn

from reprogram.engine.aliasing import has_one_input
from reprogram.engine.execute import Executor
from reprogram.engine.fold import fold
from reprogram.framed import Framed


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
        one_input = isinstance(self.module, fx.GraphModule) and has_one_input(self.module)
        self.executor = Executor(self.module) if one_input and isinstance(self.module, fx.GraphModule) else None

    @property
    def shares(self) -> bool:
        """Whether `Framed` batches are shared; otherwise each image runs whole."""
        return self.executor is not None

    def __call__(self, images: Tensor | Framed) -> Tensor:
        """Scores of normalised images; a `Framed` batch is shared as far as the module could be traced."""
        if isinstance(images, Framed):
            if self.executor is not None:
                return self.executor(images)
            images = images.dense()  # In the layout that the module itself expects.
        scores: Tensor = self.module(images)
        return scores


__all__ = ["Prepared"]
