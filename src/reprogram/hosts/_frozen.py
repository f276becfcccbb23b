"""Callables as modules, and what a classifier gives as scores."""

import contextlib
import warnings
from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from reprogram.engine.precision import is_half
from reprogram.errors import ConfigError, ReprogramError
from reprogram.framed import Framed
from reprogram.hosts._info import HostInfo

Outputs = Literal["scores", "probabilities", "top-k", "labels"]
"""The kind of output that a classifier gives for an image."""


class Call(nn.Module):
    """A callable as a module.

    Args:
        function: b x C x H x W normalised pixels to b x K scores.

    Attributes:
        name: the host's, once the function was tried out: what it raises from then on is an error of its own.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.name = ""

    def forward(self, pixels: Tensor) -> Tensor:
        """Call the function.

        Args:
            pixels: b x C x H x W, normalised.

        Returns:
            Whatever the function returns, b x K scores if it is a classifier.

        Raises:
            ConfigError: the function raises something; in half precision that comes through as it is.
        """
        try:
            return self.function(pixels)
        except (ReprogramError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if not self.name or is_half(pixels):
                raise
            said = str(error).strip().partition("\n")[0][:300]
            kind = type(error).__name__
            raise ConfigError(f"host {self.name}: its function failed: {kind}: {said}".removesuffix(": ")) from error


class LogProbabilities(nn.Module):
    """A classifier's probabilities as scores: log p, where a p below `SMALLEST` counts as `SMALLEST`.

    Args:
        net: a classifier whose outputs are b x K probabilities.
        name: the host's, for errors.
    """

    SMALLEST = 1e-12

    def __init__(self, net: nn.Module, name: str) -> None:
        super().__init__()
        self.net = net
        self.name = name

    def forward(self, pixels: Tensor) -> Tensor:
        """The logarithms of the classifier's probabilities.

        Args:
            pixels: b x C x H x W, normalised.

        Returns:
            b x K scores.
        """
        # log max(p, SMALLEST), b x K
        probabilities = scores_of(self.net(pixels), self.name)
        if probabilities.dtype in (torch.float16, torch.bfloat16):
            probabilities = probabilities.float()  # float16 has no number as small.
        return probabilities.clamp_min(self.SMALLEST).log()


def check_kind(outputs: Any, name: str) -> None:
    """Refuse a kind of output that doesn't exist.

    Args:
        outputs: the stated kind.
        name: the host's, for errors.

    Raises:
        ConfigError: there is no such kind.
    """
    if outputs not in get_args(Outputs):
        raise ConfigError(
            f"host {name}: outputs={outputs!r}; one of {', '.join(map(repr, get_args(Outputs)))} is expected"
        )


def check_outputs(scores: Tensor, outputs: Outputs, name: str) -> None:
    """Check a classifier's output against the kind of output that was stated for it.

    Args:
        scores: the output, b x K.
        outputs: the stated kind.
        name: the host's, for errors.

    Raises:
        ConfigError: probabilities are stated, but a row has a negative number or doesn't sum to 1.

    Warns:
        UserWarning: scores are stated, but the rows look like probabilities: losses would take a softmax of a softmax.
    """
    rows = scores.detach().double()
    # p >= 0 and |sum of p - 1| < 0.001 in each row
    probabilities = bool((rows >= 0).all()) and bool(((rows.sum(1) - 1).abs() < 1e-3).all())
    if outputs == "probabilities" and not probabilities:
        raise ConfigError(
            f"host {name}: a blank image's outputs aren't non-negative with sum 1; leave outputs='probabilities' out"
        )
    if outputs == "scores" and probabilities and rows.shape[1] > 1:
        warnings.warn(
            f"host {name}: its outputs are non-negative and sum to 1, like probabilities; say outputs='probabilities', "
            "or gradients through a second softmax are weak",
            UserWarning,
            stacklevel=4,
        )


def scores_of(output: Any, name: str) -> Tensor:
    """The b x K scores in a network's output.

    Args:
        output: a tensor, an array, a list of rows, or a dictionary or record with one of them as `logits`.
        name: the host's, for errors.

    Returns:
        b x K.

    Raises:
        ConfigError: the output holds no plain tensor of two axes, or complex numbers.
    """
    output = output.get("logits", output) if isinstance(output, dict) else getattr(output, "logits", output)
    if isinstance(output, np.ndarray | list):
        with contextlib.suppress(TypeError, ValueError, RuntimeError):  # It is refused below.
            output = torch.as_tensor(output)
    if not isinstance(output, Tensor) or output.ndim != 2:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ConfigError(
            f"host {name}: gave {shape} where a tensor of b x K scores is expected; wrap a function that picks the "
            "scores out, such as lambda x: module(x)[0]"
        )
    if output.layout != torch.strided:
        raise ConfigError(f"host {name}: gave a sparse tensor where scores are expected; call to_dense() on it")
    if output.is_complex():
        raise ConfigError(f"host {name}: gave complex numbers where scores are expected")
    return output


def check_pixels(pixels: Any, info: HostInfo) -> None:
    """Refuse what is no batch of a host's canvases.

    Args:
        pixels: b x C x H x W, or a `Framed` batch.
        info: the host's record.

    Raises:
        ConfigError: the pixels are no floats, or have another size or channels.
    """
    whole = pixels.frame if isinstance(pixels, Framed) else pixels
    if not isinstance(whole, Tensor) or not whole.is_floating_point():
        kind = whole.dtype if isinstance(whole, Tensor) else type(whole).__name__
        raise ConfigError(f"host {info.id}: pixels are {kind}; a tensor of floats in [0, 1] is expected")
    if whole.ndim != 4 or tuple(whole.shape[1:]) != info.shape:
        expected = " x ".join(map(str, info.shape))
        raise ConfigError(f"host {info.id}: images of shape {tuple(whole.shape)}, expected b x {expected}")
