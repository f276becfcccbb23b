"""A frozen view of a module: the same weights, in evaluation mode, whatever the module itself does afterwards."""

import contextlib
import copy
import threading
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from reprogram.engine.trace import set_evaluation
from reprogram.errors import ConfigError
from reprogram.hosts._frozen import Call

BORROWING = threading.RLock()
"""A module that runs as it was given lends itself to one call at a time."""


class AsGiven(nn.Module):
    """A module that runs as it was given, with the weights and buffers of a frozen view, in evaluation mode.

    What is set on an instance may hold on to that instance, so that a copy of it would run the original's weights and
    flags. Here the original runs, and borrows the view's tensors for the time of a call.

    Args:
        given: the module; it is left as it is.
        view: the frozen view of it.
    """

    def __init__(self, given: nn.Module, view: nn.Module) -> None:
        super().__init__()
        self.view = view
        self.given = (given,)  # In a tuple it is no part of this module.

    def forward(self, pixels: Tensor) -> Any:
        """Call the module.

        Args:
            pixels: b x C x H x W, normalised.

        Returns:
            Whatever the module returns.
        """
        (given,) = self.given
        tensors = dict(self.view.named_parameters()) | dict(self.view.named_buffers())
        with BORROWING, evaluation(given):
            return torch.func.functional_call(given, tensors, (pixels,))

    def __deepcopy__(self, memo: dict[int, Any]) -> "AsGiven":
        memo[id(self)] = result = AsGiven(*self.given, copy.deepcopy(self.view, memo))
        return result


@contextlib.contextmanager
def evaluation(net: nn.Module) -> Iterator[None]:
    """A context in which a module and its parts are in evaluation mode; afterwards each is in its own again.

    `eval()` isn't called: libraries override it, and some merge weights in it.

    Args:
        net: the module.
    """
    training = [part for part in net.modules() if getattr(part, "training", False)]
    try:
        for part in training:
            part.training = False
        yield
    finally:
        for part in training:
            part.training = True


def frozen_view(net: nn.Module) -> nn.Module:
    """A copy of a module's structure over the same weights, frozen, in evaluation mode; the module isn't touched.

    A module whose `train` is overridden may change its weights when it goes to evaluation mode; its copy has weights of
    its own. So has one that was made in inference mode, whose weights no gradient can go through.

    Args:
        net: the module.

    Returns:
        The copy, which shares the parameters' memory and has buffers of its own; `AsGiven` with it where a method of a
        part was set on the instance.

    Raises:
        ConfigError: the module can't be copied.
    """
    if isinstance(net, Call):
        return net
    own_train = overrides_train(net)
    with torch.inference_mode(False):
        memo: dict[int, Any] = {
            id(p): nn.Parameter(
                p.detach().clone() if own_train or p.is_inference() else p.detach(), requires_grad=False
            )
            for p in net.parameters()
        }
        memo |= {id(b): b.detach().clone() for b in net.buffers()}  # A forward may write into its buffers.
    for part in net.modules():  # What a layer computed from its weights, as weight_norm does, can't be copied.
        memo |= {id(v): v.detach() for v in vars(part).values() if isinstance(v, Tensor) and v.grad_fn is not None}
    try:
        view = copy.deepcopy(net, memo)
    except Exception as error:
        raise ConfigError(
            f"the module {type(net).__name__} can't be copied ({_first_line(error)}); call module.eval(), then wrap it "
            "as a callable: lambda x: module(x)"
        ) from error
    for parameter in view.parameters():
        if parameter.requires_grad:  # TorchScript copies its own way.
            parameter.detach_().requires_grad_(False)
    if own_train:
        view.eval()
    set_evaluation(view)
    return AsGiven(net, view) if any(map(set_on_instance, net.modules())) else view


def overrides_train(net: nn.Module) -> bool:
    """Whether a module or a part has a `train` or `eval` of its own, which may do anything.

    Args:
        net: the module.
    """
    return any(
        not isinstance(part, torch.jit.ScriptModule | torch.fx.GraphModule)
        and (
            type(part).train is not nn.Module.train
            or type(part).eval is not nn.Module.eval
            or not {"train", "eval"}.isdisjoint(vars(part))
        )
        for part in net.modules()
    )


def set_on_instance(part: nn.Module) -> bool:
    """Whether a method of a module, such as `forward`, was set on the instance and isn't that of its class.

    Args:
        part: the module, without its parts.
    """
    if isinstance(part, torch.jit.ScriptModule):
        return False
    return any(
        callable(own)
        and isinstance(method := getattr(type(part), name, None), types.FunctionType)
        and getattr(own, "__func__", None) is not method
        for name, own in vars(part).items()
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
