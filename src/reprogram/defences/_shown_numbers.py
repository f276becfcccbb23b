"""Output defences that show a part of the numbers: what is shown, and what can be known again, is `hosts/_shown.py`."""

import torch
from torch import Tensor

from reprogram.defences.base import OutputDefence, straight_through
from reprogram.hosts._shown import Kind, Shown
from reprogram.utils.seeding import Draws


class ShownNumbers(OutputDefence):
    """Shows what `shown` says; the gradient is that of the scores before."""

    def shown(self) -> Shown:
        """What is shown of the scores."""
        raise NotImplementedError

    def show(self, scores: Tensor, draws: Draws) -> Tensor:
        """The evidence of what is shown."""
        shown, noise = self.shown(), None
        if shown.noise:
            rows = draws.rows(lambda generator: torch.randn(scores.shape[1], generator=generator, dtype=scores.dtype))
            noise = rows.to(scores.device)
        evidence = shown.evidence(*shown.answer(scores.detach(), noise))
        return straight_through(evidence, _in_units(scores, shown.kind))


def _in_units(scores: Tensor, kind: Kind) -> Tensor:
    """The scores that an answer stands for where everything is shown."""
    if kind == "logits":
        return scores
    return torch.nn.functional.logsigmoid(scores) if kind == "independent" else scores.log_softmax(dim=1)
