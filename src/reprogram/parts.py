"""A batch in parts that processes share: loss and gradient are the same bits, whoever computes which part."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from reprogram.distributed import Group

IMAGES_A_PART = 16
"""What the processor's caches hold: 64 images of EfficientNet-Lite0 in four parts take 0.7 of the time of one part."""


def usual_number(batch_size: int, num_processes: int, device: torch.device) -> int:
    """Of parts, where none is given.

    On a processor it doesn't depend on the number of processes, so that one comes to what several come to; two at
    least cost one process some of its speed, for each part computes once more what its images share. On other devices
    large batches are what is fast: as many as there are processes.
    """
    if device.type != "cpu":
        return num_processes
    return max(num_processes, min(batch_size, 2), -(-batch_size // IMAGES_A_PART))


def mean_loss(
    loss_of_part: Callable[[slice], Tensor],
    n: int,
    num_parts: int,
    parameters: list[nn.Parameter],
    together: Group,
) -> Tensor:
    """The mean loss of a batch, whose gradient is the mean over the batch too, in every process.

    Each part's loss and gradient are computed by one process. All processes get them all, and sum them in one order.

    Args:
        loss_of_part: the mean loss of some of the batch's images.
        n: images of the batch.
        num_parts: that it is split in; parts differ by one image at the most.
        parameters: that may be differentiated for.
        together: the processes.

    Returns:
        A scalar, once differentiable.

    Raises:
        ProcessLostError: one of the processes is gone.
    """
    if num_parts == 1 and together.size == 1:
        return loss_of_part(slice(0, n))
    loss: Tensor = _Mean.apply(loss_of_part, n, num_parts, parameters, together, torch.is_grad_enabled(), *parameters)
    return loss


class _Mean(torch.autograd.Function):
    """What is computed forward holds the gradient already: it is what the processes exchange."""

    @staticmethod
    def forward(
        ctx: Any,
        loss_of_part: Callable[[slice], Tensor],
        n: int,
        num_parts: int,
        parameters: list[nn.Parameter],
        together: Group,
        wanted: bool,
        *_: Tensor,
    ) -> Tensor:
        """A row for each part: its loss, then its gradient, both by its share of the batch."""
        sizes = [p.numel() for p in parameters] if wanted else []
        parts = together.share_of([slice(n * i // num_parts, n * (i + 1) // num_parts) for i in range(num_parts)])
        rows = torch.zeros(len(parts), 1 + sum(sizes), dtype=parameters[0].dtype)
        for row, part in zip(rows, parts, strict=True):
            if part.start == part.stop:
                continue
            with torch.set_grad_enabled(wanted):
                loss = loss_of_part(part) * ((part.stop - part.start) / n)
            gradients = (
                torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True) if wanted else ()
            )
            row.copy_(torch.cat([loss.detach().reshape(1), *(gradient.reshape(-1) for gradient in gradients)]))
        whole = together.joined(rows, num_parts).sum(dim=0).to(parameters[0].device)
        ctx.gradients = (
            [g.view_as(p) for g, p in zip(whole[1:].split_with_sizes(sizes), parameters, strict=True)] if wanted else []
        )
        return whole[0].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, to_loss: Tensor) -> tuple[Tensor | None, ...]:
        """By the chain rule."""
        return (None,) * 6 + tuple(to_loss * gradient for gradient in ctx.gradients)
