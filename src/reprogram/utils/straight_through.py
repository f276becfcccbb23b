"""Values whose gradient is that of another computation."""

from torch import Tensor


def straight_through(value: Tensor, differentiable: Tensor) -> Tensor:
    """A value whose gradient is that of another one.

    Args:
        value: what is computed; of any shape.
        differentiable: the same shape; its gradient counts.

    Returns:
        The value.

    Reference: Athalye, Carlini and Wagner, Obfuscated Gradients Give a False Sense of Security, ICML 2018, section 4.1
    (backward pass differentiable approximation).
    """
    # v + (d - d): the bracket is exactly 0 and has the gradient.
    return value.detach() + (differentiable - differentiable.detach()) if differentiable.requires_grad else value
