"""Runs hosts faster without changing what they compute.

`fold.py` folds BatchNorm into convolutions. `execute.py` runs a traced host on a `Framed` batch: what the batch shares
once, the window for each image; `rules.py` says how, one function an operation.
"""

from torch import Tensor, fx, nn

from reprogram.engine.aliasing import has_one_input
from reprogram.engine.execute import execute
from reprogram.engine.fold import fold
from reprogram.framed import Framed


class Prepared:
    """A host's module made ready to run.

    Attributes:
        module: computes the same as the module given; folded and traced where that is possible.
        shares: whether `Framed` batches are shared.

    Args:
        net: a frozen module in evaluation mode; it isn't changed.
    """

    def __init__(self, net: nn.Module) -> None:
        self.module = fold(net)
        self.shares = isinstance(self.module, fx.GraphModule) and has_one_input(self.module)

    def __call__(self, images: Tensor | Framed) -> Tensor:
        """Scores of normalised images; a `Framed` batch is shared as far as the module could be traced."""
        if isinstance(images, Framed):
            if self.shares and isinstance(self.module, fx.GraphModule):
                return execute(self.module, images)
            images = images.dense()  # In the layout that the module itself expects.
        scores: Tensor = self.module(images)
        return scores


__all__ = ["Prepared"]
