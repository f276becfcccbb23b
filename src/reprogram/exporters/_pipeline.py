"""The whole way from a task image to task scores as one module that a graph can be captured of."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram.hosts._frozen import scores_of
from reprogram.model import Reprogrammed


class Pipeline(nn.Module):
    """Task images → canvas → program → normalisation → host → label map → task scores.

    It computes what `Reprogrammed` does, without the checks of values that a graph can't hold: float images have to lie
    in [0, 1].

    Args:
        model: the model, on the CPU; its host's weights are shared, everything else is copied.
        host_top: how many of the host's own top answers are given too; 0 for none.
    """

    def __init__(self, model: Reprogrammed, *, host_top: int = 0) -> None:
        super().__init__()
        self.canvas = copy.deepcopy(model.canvas)
        self.program = copy.deepcopy(model.program).requires_grad_(False)
        self.label_map = copy.deepcopy(model.label_map).requires_grad_(False)
        self.net = model.host.net
        self.host_name = model.host.info.id
        self.host_top = host_top
        self.own, _ = model.host._dtype_and_device()
        self.register_buffer("mean", model.host.mean.to(self.own))
        self.register_buffer("std", model.host.std.to(self.own))
        self.register_buffer("mask", self.canvas.geometry.mask().to(self.own))
        self.mean: Tensor
        self.std: Tensor
        self.mask: Tensor

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Classify task images.

        Args:
            images: b × c × h × w, uint8 or floating point in [0, 1].

        Returns:
            b × k task scores (logits); where they are asked for, also the labels, b × n, and the probabilities, b × n,
            of the host's n top answers.
        """
        unit = images.to(self.canvas.frame.dtype)
        unit = unit / 255 if images.dtype == torch.uint8 else unit
        host_scores = scores_of(self.net(self._host_input(unit)), self.host_name).to(self.own)
        host_scores = self.program.combined(host_scores)
        scores = self.label_map.run(host_scores).float()
        if not self.host_top:
            return (scores,)
        top = self.program.host_answer(host_scores).float().softmax(dim=1).topk(self.host_top, dim=1)
        return scores, top.indices, top.values

    def _host_input(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b C H W"]:
        """The normalised canvas; frame and window are normalised by themselves, so that the frame can be folded."""
        framed = self.program.draw(self.canvas.place(images))
        window = (framed.window.to(self.own) - self.mean) / self.std
        box, (_, height, width) = framed.box, self.canvas.geometry.shape
        right, below = width - box.columns.stop, height - box.rows.stop
        if (box.top, box.left, right, below) == (0, 0, 0, 0):
            return window
        # The frame is 0 in the window, the window 0 in the frame: their sum is exact.
        frame = (framed.frame.to(self.own) - self.mean) / self.std * self.mask
        return F.pad(window, (box.left, right, box.top, below)) + frame
