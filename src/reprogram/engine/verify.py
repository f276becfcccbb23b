"""Does the engine compute what the host's own module computes? Asked of the module itself, image by image, unfolded."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reprogram.errors import ConfigError, ExportParityError
from reprogram.framed import Framed
from reprogram.hosts._nets import scores_of
from reprogram.hosts.base import Host

EXACT = 1e-10
"""The largest error in float64."""

MAX_SCORE_ERROR, MAX_GRADIENT_ERROR = 1e-3, 0.1
"""Of the check before a fit, in the host's own precision. In float32, scores of hosts that are right differ by up to
3e-5, gradients by up to 5e-2: where a ReLU's input lies near zero, or two inputs of max pooling are near to each other,
rounding decides which way the gradient goes."""

MARGIN = 10.0
"""The engine may differ by this many times what runs of the module itself differ by."""

JITTER = 1 / 255
"""Added to pixels: on a canvas of one grey, max pooling chooses between equals, and rounding alone decides."""

TRIALS = 3
"""Jitters that are tried before a host is refused: what is wrong stays wrong, what rounding decides doesn't."""

SEED = 20180628


@dataclass(frozen=True)
class Parity:
    """Relative errors: the norm of the difference over the norm of what is right.

    Attributes:
        scores: of the logits.
        gradient: the largest of its parts, for a random cotangent.
    """

    scores: float
    gradient: float


@dataclass(frozen=True)
class _Outcome:
    """What a run gave."""

    scores: Tensor
    gradients: tuple[Tensor, ...]


def verify(host: Host, framed: Framed) -> Parity:
    """Compare a host's engine with dense execution of its original module, in float64 on the CPU.

    Args:
        host: is left as it is: a copy is run. One that shows no weights runs in its own precision.
        framed: pixels in [0, 1]; the gradients with respect to frame and window are compared where they require grad.

    Returns:
        The largest relative errors.

    Raises:
        ConfigError: the module can't run in float64, or its scores depend on chance.
    """
    twin = _twin(host)
    dtype, _ = twin._dtype_and_device()
    frame, window = (
        part.detach().to("cpu", dtype).requires_grad_(part.requires_grad) for part in (framed.frame, framed.window)
    )
    framed = Framed(frame=frame, window=window, box=framed.box)
    inputs = [part for part in (frame, window) if part.requires_grad]
    try:
        wanted, again = (_outcome(_dense(twin, framed), inputs) for _ in range(2))
    except RuntimeError as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(f"host {host.info.id}: can't run in float64 ({reason}); it can't be verified") from error
    if _errors(again, wanted).scores > MAX_SCORE_ERROR:
        raise ConfigError(f"host {host.info.id}: its scores depend on chance; it can't be verified")
    return _largest(_engine_errors(lambda: twin(framed), inputs, wanted))


def check(host: Host, framed: Framed, parameters: Sequence[Tensor], labels: Tensor | None = None) -> None:
    """Refuse a host whose engine is wrong: a cheap look, in the host's own precision, before a program is learned.

    Nothing is counted in the host's meter. A host whose scores depend on chance isn't refused, nor is one so
    ill-conditioned that float32 says little about it: the engine may differ from the module as runs of the module do.

    Args:
        host: is asked for the batch's scores as learning would.
        framed: the canvases of a few images.
        parameters: what the gradient is with respect to; a part of what `framed` was made from.
        labels: the host labels that are read; all by default.

    Raises:
        ExportParityError: scores or gradient differ from those of dense execution.
    """
    before = replace(host.meter)
    try:
        for trial in range(TRIALS):
            found, limits = _compare(host, _jittered(framed, SEED + trial), parameters, labels)
            if found.scores <= limits.scores and found.gradient <= limits.gradient:
                return
    finally:
        host.meter.calls, host.meter.images = before.calls, before.images
    raise ExportParityError(complaint(host, found))


def complaint(host: Host, found: Parity) -> str:
    """What is said of a host whose engine is wrong."""
    return (
        f"host {host.info.id}: the engine differs from the host's own module (relative error of scores "
        f'{found.scores:.1e}, of the gradient {found.gradient:.1e}); use engine="dense" / --engine dense'
    )


def _jittered(framed: Framed, seed: int) -> Framed:
    noise = torch.Generator().manual_seed(seed)
    frame, window = (
        part + JITTER * torch.rand(part.shape, generator=noise).to(part) for part in (framed.frame, framed.window)
    )
    return replace(framed, frame=frame, window=window)


def _compare(host: Host, framed: Framed, parameters: Sequence[Tensor], labels: Tensor | None) -> tuple[Parity, Parity]:
    """The engine's errors, and the largest that are let pass."""
    chosen = slice(None) if labels is None else labels
    limits = Parity(MAX_SCORE_ERROR, MAX_GRADIENT_ERROR)
    wanted = _outcome(_dense(host, framed)[:, chosen], parameters)
    if not all(bool(torch.isfinite(part).all()) for part in (wanted.scores, *wanted.gradients)):
        return Parity(0.0, 0.0), limits  # Nothing to compare with; learning itself says what is wrong.
    found = _largest(_engine_errors(lambda: host(framed, labels)[:, chosen], parameters, wanted))
    if found.scores <= limits.scores and found.gradient <= limits.gradient:
        return found, limits
    others = [_outcome(_dense(host, framed)[:, chosen], parameters), *_in_float64(host, framed, parameters, chosen)]
    own = _largest([_errors(other, wanted) for other in others])
    return found, Parity(max(limits.scores, MARGIN * own.scores), max(limits.gradient, MARGIN * own.gradient))


def _twin(host: Host) -> Host:
    """A host of its own in float64 on the CPU, with the same module; where there are no weights, the same precision."""
    if not any(p.is_floating_point() for p in host.net.parameters()):
        return Host(host.net, host.info)
    return Host(copy.deepcopy(host.net).cpu().double(), host.info)


def _dense(host: Host, framed: Framed) -> Tensor:
    """The scores of the host's module as it was given, image by image."""
    return scores_of(host.net(host._normalised(framed.dense())), host.info.id)


def _in_float64(host: Host, framed: Framed, parameters: Sequence[Tensor], chosen: slice | Tensor) -> list[_Outcome]:
    """What the module itself gives in float64; nothing where it can't run so."""
    twin = _twin(host)
    whole = Framed(frame=framed.frame.cpu(), window=framed.window.cpu(), box=framed.box)
    try:
        scores = _dense(twin, whole)[:, chosen if isinstance(chosen, slice) else chosen.cpu()]
    except RuntimeError:
        return []
    return [_outcome(scores, parameters)]


def _outcome(scores: Tensor, inputs: Sequence[Tensor]) -> _Outcome:
    """Scores and their gradients for a cotangent that is the same for every run."""
    if not inputs or not scores.requires_grad:
        return _Outcome(scores.detach(), tuple(torch.zeros_like(part) for part in inputs))
    cotangent = torch.randn(scores.shape, generator=torch.Generator().manual_seed(SEED)).to(scores)
    gradients = torch.autograd.grad(
        scores, inputs, cotangent, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return _Outcome(scores.detach(), gradients)


def _engine_errors(run: Callable[[], Tensor], inputs: Sequence[Tensor], wanted: _Outcome) -> list[Parity]:
    """Of a run with gradients, and of two without: the second takes what the first kept of the frame."""
    errors = [_errors(_outcome(run(), inputs), wanted)]
    with torch.no_grad():
        errors += [Parity(_relative(run(), wanted.scores), 0.0) for _ in range(2)]
    return errors


def _errors(found: _Outcome, wanted: _Outcome) -> Parity:
    parts = [_relative(a, b) for a, b in zip(found.gradients, wanted.gradients, strict=True)]
    return Parity(_relative(found.scores, wanted.scores), max(parts, default=0.0))


def _relative(found: Tensor, wanted: Tensor) -> float:
    """The norm of the difference over that of `wanted`; infinite where a number isn't finite."""
    wanted = wanted.detach().cpu().double()
    difference = float((found.detach().cpu().double() - wanted).norm())
    if difference == 0:
        return 0.0
    norm = float(wanted.norm())
    return difference / norm if norm > 0 and difference < float("inf") else float("inf")


def _largest(errors: Sequence[Parity]) -> Parity:
    return Parity(max(e.scores for e in errors), max(e.gradient for e in errors))
