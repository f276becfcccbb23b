"""A step recorded as a CUDA graph: its hundreds of kernels are launched by one call.

A small batch's step takes a GPU less time than a processor needs to launch it. PyTorch records the kernels of one step
once, with their memory, and replays them (Accelerating PyTorch with CUDA Graphs, pytorch.org, 2021).
"""

import gc
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from reprogram.hosts._meter import Meter
from reprogram.model import Reprogrammed
from reprogram.training.losses import loss_of
from reprogram.types import LossKind

EAGER_CALLS = 3
"""Calls with one shape of images before that is recorded: libraries set themselves up first, and it may be rare."""

SHAPES = 4
"""The number of shapes of images for which a graph is kept."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Recording:
    """A recorded step, and the memory that it reads and writes."""

    graph: Any
    images: Tensor
    labels: Tensor
    loss: Tensor
    gradients: tuple[Tensor, ...]
    calls: Meter


class GraphedLoss(nn.Module):
    """The loss of a batch, whose value and gradient are computed by replaying a CUDA graph.

    Both are those of `loss_of`. The learned parameters may change in place from call to call; they may not get other
    memory. Where a step can't be recorded, since it reads a number back from the GPU, each call computes it anew.

    Args:
        model: the model that is learned, on a GPU; its label map isn't refitted while it is learned.
        loss: which loss.
    """

    def __init__(self, model: Reprogrammed, loss: LossKind) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        self.parameters_by_name = {name: p for name, p in self.named_parameters() if p.requires_grad}
        self._seen: dict[Any, int] = {}
        self._recordings: dict[Any, _Recording] = {}
        self._works = True

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss, kernel by kernel.

        Args:
            images: b × c × h × w on the GPU.
            labels: b class indices on the GPU.
        """
        return loss_of(self.model, images, labels, self.loss)

    def replayed(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss, once differentiable by the learned parameters.

        Args:
            images: b × c × h × w on the GPU.
            labels: b class indices on the GPU.
        """
        key = tuple(images.shape), images.dtype
        seen = self._seen[key] = self._seen.get(key, 0) + 1
        if self._works and key not in self._recordings and seen > EAGER_CALLS and len(self._recordings) < SHAPES:
            self._try_to_record(key, images, labels)
        recording = self._recordings.get(key)
        if recording is None:
            return self.forward(images, labels)
        recording.images.copy_(images)
        recording.labels.copy_(labels)
        recording.graph.replay()
        meter = self.model.host.meter
        for name in ("calls", "images", "requests"):
            setattr(meter, name, getattr(meter, name) + getattr(recording.calls, name))
        parameters = self.parameters_by_name.values()
        result: Tensor = _Replayed.apply(recording.loss, recording.gradients, *parameters)
        return result

    def _try_to_record(self, key: Any, images: Tensor, labels: Tensor) -> None:
        """Record a step; where it can't be recorded, say so once and never try again."""
        try:
            self._recordings[key] = self._record(images, labels)
        except RuntimeError as error:
            self._works = False
            torch.cuda.synchronize(images.device)
            reason = str(error).splitlines()[0]
            warnings.warn(f"learning goes on without CUDA graphs: {reason}", UserWarning, stacklevel=2)

    def _record(self, images: Tensor, labels: Tensor) -> _Recording:
        """Record the loss of a batch and its gradient; nothing is computed."""
        images, labels = images.clone(), labels.clone()
        # New leaves in the parameters' memory: autograd would wait for the stream on which it met older ones first.
        leaves = {name: p.detach().requires_grad_() for name, p in self.parameters_by_name.items()}
        graph = torch.cuda.CUDAGraph()
        gc.collect()  # No tensor may be freed in between.
        with self.model.host.uncounted() as calls, torch.cuda.graph(graph):
            loss = functional_call(self, leaves, (images, labels))
            gradients = torch.autograd.grad(loss, [*leaves.values()], allow_unused=True, materialize_grads=True)
        return _Recording(
            graph=graph, images=images, labels=labels, loss=loss.detach(), gradients=gradients, calls=calls
        )


class _Replayed(torch.autograd.Function):
    """The loss of a replay, whose gradient is known already."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: tuple[Tensor, ...], *_: Tensor) -> Tensor:
        """Copy the loss: the next replay overwrites it."""
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *to_loss: Tensor) -> tuple[Tensor | None, ...]:
        """Multiply the gradient by that of the loss: the chain rule."""
        return (None, None, *(to_loss[0] * gradient for gradient in ctx.gradients))
