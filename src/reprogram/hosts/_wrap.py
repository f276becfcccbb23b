"""Turn any classifier into a host: check what is said about it, probe it with a blank image, and try the host out."""

import functools
import inspect
import operator
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, get_args

import torch
from torch import Tensor, nn

from reprogram.errors import ConfigError
from reprogram.hosts._answers import Answers
from reprogram.hosts._frozen import Call, LogProbabilities, Outputs, check_kind, check_outputs, scores_of
from reprogram.hosts._host import FrozenHost
from reprogram.hosts._info import MAX_SIZE, HostInfo
from reprogram.hosts._state import check_numbers
from reprogram.hosts._trial import first_line, try_out
from reprogram.hosts._view import evaluation
from reprogram.types import Access
from reprogram.utils.messages import shown

AnyHost = TypeVar("AnyHost", bound=FrozenHost)

NUMPY = "Can't call numpy()"
"""What PyTorch says to functions that turn pixels with a gradient into an array: they show scores alone."""

MAX_TEXT = 1000
"""The most characters of a host's name or licence; program files hold them."""

ANSWERS: dict[Outputs, Access] = {"top-k": "top-k", "labels": "label"}
"""The access of classifiers that answer with labels, by the kind of their output."""


def wrapped(
    kind: type[AnyHost],
    classifier: Callable[[Tensor], Tensor],
    *,
    size: int | tuple[int, int],
    channels: int,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    class_names: tuple[str, ...] | list[str] | None,
    name: str,
    access: Access | None,
    licence: str,
    outputs: Outputs,
) -> AnyHost:
    """Make a host of any module or callable; see `Host.wrap`.

    Args:
        kind: the host's class.
        classifier: b × C × H × W normalised pixels to b × K scores.
        size: height and width in pixels.
        channels: C.
        mean: C numbers, or None.
        std: C numbers, or None.
        class_names: K names, or None.
        name: the host's name.
        access: what the classifier gives away, or None.
        licence: of the weights.
        outputs: the stated kind of the classifier's output.

    Returns:
        The host.

    Raises:
        ConfigError: an argument can't be what it is said to be, or a call of the classifier fails.
    """
    info = _record(size, channels, mean, std, name, licence)
    check_kind(outputs, name)
    if access is not None and access not in get_args(Access):
        raise ConfigError(f"host {name}: access={shown(access)}; one of {', '.join(get_args(Access))} is expected")
    names = _numbers_or_names(class_names, "class_names", name, str)
    given = module_of(classifier, name)
    check_numbers(given, name)
    host = kind(given, info)
    if outputs in ANSWERS:
        if names is None:
            raise ConfigError(f"host {name}: outputs={outputs!r} needs class_names, the labels that it may answer")
        twice = next((label for label in names if names.count(label) > 1), None)
        if twice is not None:
            warnings.warn(
                f"host {name}: class_names holds {twice[:40]!r} more than once; an answer by this name counts for the "
                "last of them: let the classifier give indices",
                UserWarning,
                stacklevel=3,
            )
        host.net = given = Answers(host.net, names, numbers=outputs == "top-k", name=name)
        access = access or ANSWERS[outputs]
    with evaluation(given):  # A hook of the copy may hold on to the module itself.
        blank, scores = _first_scores(host, access, outputs, name)
    if outputs == "probabilities":
        host.net, given = LogProbabilities(host.net, name), LogProbabilities(given, name)
    host.info = replace(
        info,
        num_classes=scores.shape[1],
        class_names=names,
        access=access or ("gradient" if _has_gradient(scores, blank) else "scores"),
    )
    try_out(host, given)
    _name_functions(host.net, name)
    return host


def _first_scores(host: FrozenHost, access: Access | None, outputs: Outputs, name: str) -> tuple[Tensor, Tensor]:
    """A blank image and its scores: with a gradient where one may be had, else without."""
    dtype, device = host._dtype_and_device()
    blank = torch.full((1, *host.info.shape), 0.5, dtype=dtype, device=device)
    if outputs not in ANSWERS and access in (None, "gradient"):
        try:
            blank.requires_grad_()
            return blank, probe(host.net, host._normalised(blank), outputs, name)
        except ConfigError as error:
            if access is not None or NUMPY not in str(error):
                raise
            blank.requires_grad_(False)
    return blank, probe(host.net, host._normalised(blank), outputs, name)


def _name_functions(net: nn.Module, name: str) -> None:
    """Let what a tried function raises from now on name the host."""
    for module in net.modules():
        if isinstance(module, Call):
            module.name = name


def _has_gradient(scores: Tensor, blank: Tensor) -> bool:
    """Whether the pixels' gradient can be had: quantised layers have scores alone."""
    if not scores.requires_grad:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of such layers.
        try:
            return torch.autograd.grad(scores.sum(), blank, allow_unused=True)[0] is not None
        except RuntimeError:
            return False


def _record(size: Any, channels: Any, mean: Any, std: Any, name: Any, licence: Any) -> HostInfo:
    """The host's record as far as it is stated; a number or name that can't be one is refused."""
    if not isinstance(name, str) or not isinstance(licence, str):
        raise ConfigError(f"host: name={name!r}, licence={licence!r}; text is expected")
    for text in (name, licence):
        if len(text) > MAX_TEXT or text != text.encode("utf-8", "replace").decode():
            raise ConfigError(
                f"host: a name or licence of {len(text)} characters, {ascii(text)[:60]}; at most {MAX_TEXT} that UTF-8 "
                "has are expected"
            )
    pair = size if isinstance(size, tuple | list) else (size, size)
    sides = [_count(side) for side in pair]
    if len(sides) != 2 or not all(sides):
        raise ConfigError(
            f"host {name}: size={shown(size)}; pixels from 1 to {MAX_SIZE} are expected, one number or two"
        )
    count = _count(channels)
    if not count:
        raise ConfigError(f"host {name}: channels={shown(channels)}; a whole number from 1 to {MAX_SIZE} is expected")
    means, stds = (_numbers_or_names(values, what, name, float) for values, what in ((mean, "mean"), (std, "std")))
    return HostInfo(
        id=name,
        num_classes=1,
        size=(sides[0], sides[1]),
        channels=count,
        mean=(0.0,) * count if means is None else means,
        std=(1.0,) * count if stds is None else stds,
        licence=licence,
    )


def _count(value: Any) -> int:
    """A whole number from 1 to MAX_SIZE, NumPy's too; 0 for everything else."""
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return 0
    return number if 1 <= number <= MAX_SIZE else 0


def _numbers_or_names(values: Any, what: str, name: str, kind: type[Any]) -> tuple[Any, ...] | None:
    """A list of numbers or of names as a tuple; a tensor or an array of numbers is one too."""
    if values is None:
        return None
    expected = "numbers" if kind is float else "names"
    try:
        if isinstance(values, str | dict | set):
            raise TypeError
        values = values.reshape(-1) if kind is float and hasattr(values, "reshape") else values  # As 1 x C x 1 x 1.
        items = [item.item() if hasattr(item, "item") else item for item in values]
        if kind is str and not all(isinstance(item, str) for item in items):
            raise TypeError
        if kind is str:
            "".join(items).encode()  # A ValueError where UTF-8 lacks a character.
        return tuple(kind(item) for item in items)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ConfigError(f"host {name}: {what}={str(values)[:60]!r}; a list of {expected} is expected") from None


def module_of(classifier: Any, name: str) -> nn.Module:
    """A classifier as a module; `module.forward`, `module.__call__` and `partial(module)` stand for their module.

    Args:
        classifier: b × C × H × W normalised pixels to b × K scores.
        name: the host's, for errors.

    Returns:
        The module itself where the classifier is one, else a module that calls it.

    Raises:
        ConfigError: it is no classifier: a class of them, say, or a record of weights.
    """
    if inspect.isclass(classifier) and issubclass(classifier, nn.Module):
        raise ConfigError(f"host {name}: {classifier.__name__} is a class; give an instance of it")
    if not callable(classifier):
        kind = type(classifier).__name__
        raise ConfigError(f"host {name}: a {kind} can't be called; give a module or a function of pixels")
    if isinstance(classifier, functools.partial) and not (classifier.args or classifier.keywords):
        return module_of(classifier.func, name)
    owner = getattr(classifier, "__self__", None)
    if isinstance(owner, nn.Module) and classifier in (owner.forward, owner.__call__):
        return owner
    return classifier if isinstance(classifier, nn.Module) else Call(classifier)


def probe(net: nn.Module, blank: Tensor, outputs: Outputs, name: str) -> Tensor:
    """The scores of a blank image.

    Args:
        net: the classifier.
        blank: 1 × C × H × W, normalised.
        outputs: the stated kind of the classifier's output.
        name: the host's, for errors.

    Returns:
        1 × K scores, or probabilities.

    Raises:
        ConfigError: the call fails, or its output isn't one row of scores, or of probabilities.

    Warns:
        UserWarning: the scores look like probabilities, and `outputs` doesn't say so.
    """
    try:
        scores = net(blank)
    except ConfigError:
        raise
    except Exception as error:
        shape = "x".join(map(str, blank.shape[1:]))
        raise ConfigError(f"host {name}: a call with a blank {shape} image failed: {first_line(error)}") from error
    scores = scores_of(scores, name)
    if len(scores) != 1 or scores.shape[1] < 1:
        raise ConfigError(f"host {name}: one image gave scores of shape {tuple(scores.shape)}, expected 1 x K")
    if scores.is_meta and not blank.is_meta:
        raise ConfigError(f"host {name}: a blank image's scores are on the device meta, without values")
    if torch.isnan(scores).any():
        raise ConfigError(f"host {name}: a blank image's scores aren't numbers (NaN); mend the classifier")
    check_outputs(scores, outputs, name)
    return scores
