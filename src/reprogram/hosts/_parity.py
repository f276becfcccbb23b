"""Compare the engine's scores and gradients with those of the host's own module, run densely image by image."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reprogram.engine.precision import FAILURES
from reprogram.errors import ConfigError, ExportParityError
from reprogram.framed import Framed
from reprogram.hosts._frozen import scores_of
from reprogram.hosts._host import FrozenHost

EXACT = 1e-10
"""The largest relative error that float64 allows."""

MAX_SCORE_ERROR, MAX_GRADIENT_ERROR = 1e-3, 0.1
"""The largest relative errors that the check before a fit allows, in the host's own precision. In float32, scores of
correct engines differ by up to 3e-5, gradients by up to 5e-2: where a ReLU's input lies near zero, or two inputs of max
pooling are near to each other, rounding decides which way the gradient goes."""

MAX_HALF_SCORE_ERROR = {torch.bfloat16: 0.05, torch.float16: 0.01}
"""The largest relative errors of scores in half precision, beside the module's own in float32."""

HALF_MARGIN = 3.0
"""The engine's error in half precision may be this many times that of the module itself in half precision."""

MEANINGLESS = 0.25
"""The relative error of scores in half precision from which a host isn't run so: what is learned there is worth little
in float32."""

MARGIN = 10.0
"""The engine's error may be this many times the error between runs of the module itself."""

OTHERWISE = 0.1
"""The relative error of scores from which a run of the module in float64 isn't its rounding: it does something else
there, and says nothing of the engine."""

JITTER = 1 / 255
"""The largest noise that is added to pixels: on a canvas of one grey, max pooling chooses between equals, and rounding
alone decides."""

TRIALS = 3
"""How many jitters are tried before a host is refused: a wrong engine fails with each, rounding doesn't."""

SEED = 20180628


@dataclass(frozen=True)
class Parity:
    """Relative errors: the norm of the difference over the norm of the reference.

    Attributes:
        scores: the error of the scores.
        gradient: the largest error among the gradients of all inputs, for a random cotangent.
    """

    scores: float
    gradient: float


@dataclass(frozen=True)
class _Outcome:
    """The scores of a run and their gradients for one cotangent, an input each."""

    scores: Tensor
    gradients: tuple[Tensor, ...]


def verify(host: FrozenHost, framed: Framed) -> Parity:
    """Compare a host's engine with dense execution of its original module, in float64 on the CPU.

    Args:
        host: the host, which is left as it is: a copy runs. One without visible weights runs in its own precision.
        framed: pixels in [0, 1]; the gradients of frame and window are compared where they require grad.

    Returns:
        The largest relative errors.

    Raises:
        ConfigError: the module can't run in float64, or its scores depend on chance.
    """
    host = bare(host)
    twin = _twin(host)
    dtype, _ = twin._dtype_and_device()
    frame, window = (
        part.detach().to("cpu", dtype).requires_grad_(part.requires_grad) for part in (framed.frame, framed.window)
    )
    framed = Framed(frame=frame, window=window, box=framed.box)
    inputs = [part for part in (frame, window) if part.requires_grad]
    try:
        reference, repeat = (_outcome(_dense(twin, framed), inputs) for _ in range(2))
    except RuntimeError as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(f"host {host.info.id}: can't run in float64 ({reason}); it can't be verified") from error
    if _errors(repeat, reference).scores > MAX_SCORE_ERROR:
        raise ConfigError(f"host {host.info.id}: its scores depend on chance; it can't be verified")
    return _largest(_engine_errors(lambda: twin(framed), inputs, reference))


def check(host: FrozenHost, framed: Framed, parameters: Sequence[Tensor], labels: Tensor | None = None) -> None:
    """Refuse a host whose engine is wrong: a cheap check in the host's own precision, before a program is learned.

    The host's meter counts nothing of it. A host whose scores depend on chance isn't refused, nor is one so
    ill-conditioned that float32 tells little about it: the engine may differ from the module as runs of the module do.

    Args:
        host: the host, called as in learning.
        framed: the canvases of a few images.
        parameters: the tensors to differentiate by, among those that `framed` was computed from.
        labels: indices of the host labels that are read; all by default.

    Raises:
        ExportParityError: scores or gradient differ from those of dense execution.
    """
    host = bare(host)
    with host.uncounted():
        with host.in_precision("float32"):
            _check_own(host, framed, parameters, labels)
            reference = _dense(host, framed).detach()
        if host.dtype in MAX_HALF_SCORE_ERROR:
            _check_half(host, framed, reference)


def bare(host: FrozenHost) -> FrozenHost:
    """The host's network without what changes images or answers, which isn't the engine's; most hosts are bare.

    Args:
        host: the host; the result runs the same modules, in the same way.
    """
    if host.guard is None and host.asks_per_image == 1:
        return host
    result = FrozenHost(host.net, host.info)
    result.net, result._prepared = host.net, host._prepared
    result.engine, result.precision = host.engine, host.precision
    return result


def _check_own(host: FrozenHost, framed: Framed, parameters: Sequence[Tensor], labels: Tensor | None) -> None:
    """Check the engine in the type of the host's weights."""
    for trial in range(TRIALS):
        parity, limits = _compare(host, _jittered(framed, SEED + trial), parameters, labels)
        if parity.scores <= limits.scores and parity.gradient <= limits.gradient:
            return
    raise ExportParityError(complaint(host, parity))


def _check_half(host: FrozenHost, framed: Framed, reference: Tensor) -> None:
    """Check the engine's scores in half precision. Rounding turns gradients far more than scores; they aren't held."""
    with torch.no_grad():
        error = _relative(host(framed).detach(), reference)
        if error <= MAX_HALF_SCORE_ERROR[host.dtype]:
            return
        if error > HALF_MARGIN * _own_half_error(host, framed, reference):
            raise ExportParityError(complaint(host, Parity(error, 0.0)))


def _own_half_error(host: FrozenHost, framed: Framed, reference: Tensor) -> float:
    """The error of the module itself in half precision; infinite where it can't run so, as the engine can.

    The engine leaves some operations in float32.
    """
    try:
        net = copy.deepcopy(host.net).to(host.dtype)
        return _relative(scores_of(net(host._normalised(framed.dense())), host.info.id), reference)
    except FAILURES:
        return float("inf")


def half_error(host: FrozenHost, framed: Framed) -> float:
    """The relative error of a host's scores in half precision, beside those in float32; infinite where they overflow.

    An error of the engine alone is none of the precision, and 0 here: `check` refuses it.

    Args:
        host: the host; its meter counts nothing of it.
        framed: the canvases of a few images.
    """
    host = bare(host)
    with host.uncounted(), torch.no_grad():
        with host.in_precision("float32"):
            reference = host(framed).detach()
        error = _relative(host(framed).detach(), reference)
        is_small = error <= MEANINGLESS or error > HALF_MARGIN * _own_half_error(host, framed, reference)
        return 0.0 if is_small else error


def complaint(host: FrozenHost, found: Parity) -> str:
    """The message that refuses a host whose engine is wrong.

    Args:
        host: the host.
        found: the engine's errors.
    """
    return (
        f"host {host.info.id}: the engine differs from the host's own module (relative error of scores "
        f'{found.scores:.1e}, of the gradient {found.gradient:.1e}); use engine="dense" / --engine dense'
    )


def _jittered(framed: Framed, seed: int) -> Framed:
    """A batch with noise, uniform in [0, JITTER), added to frame and window."""
    generator = torch.Generator().manual_seed(seed)
    frame, window = (
        part + JITTER * torch.rand(part.shape, generator=generator).to(part) for part in (framed.frame, framed.window)
    )
    return replace(framed, frame=frame, window=window)


def _compare(
    host: FrozenHost, framed: Framed, parameters: Sequence[Tensor], labels: Tensor | None
) -> tuple[Parity, Parity]:
    """The engine's errors, and the largest ones that pass."""
    columns = slice(None) if labels is None else labels
    limits = Parity(MAX_SCORE_ERROR, MAX_GRADIENT_ERROR)
    reference = _outcome(_dense(host, framed)[:, columns], parameters)
    if not all(bool(torch.isfinite(tensor).all()) for tensor in (reference.scores, *reference.gradients)):
        return Parity(0.0, 0.0), limits  # There is nothing to compare with; learning itself reports the fault.
    parity = _largest(_engine_errors(lambda: host(framed, labels)[:, columns], parameters, reference))
    if parity.scores <= limits.scores and parity.gradient <= limits.gradient:
        return parity, limits
    reruns = [_outcome(_dense(host, framed)[:, columns], parameters), *_in_float64(host, framed, parameters, columns)]
    found = [_errors(rerun, reference) for rerun in reruns]
    noise = _largest([found[0], *(errors for errors in found[1:] if errors.scores <= OTHERWISE)])
    return parity, Parity(max(limits.scores, MARGIN * noise.scores), max(limits.gradient, MARGIN * noise.gradient))


def _twin(host: FrozenHost) -> FrozenHost:
    """A second host with a copy of the module in float64 on the CPU; without weights, with the module as it is."""
    if not any(p.is_floating_point() for p in host.net.parameters()):
        return type(host)(host.net, host.info)
    return type(host)(copy.deepcopy(host.net).cpu().double(), host.info)


def _dense(host: FrozenHost, framed: Framed) -> Tensor:
    """The scores of the host's module as it was given, image by image."""
    return scores_of(host.net(host._normalised(framed.dense())), host.info.id)


def _in_float64(
    host: FrozenHost, framed: Framed, parameters: Sequence[Tensor], columns: slice | Tensor
) -> list[_Outcome]:
    """The outcome of the module itself in float64, as a list of one; an empty list where it can't run so."""
    twin = _twin(host)
    whole = Framed(frame=framed.frame.cpu(), window=framed.window.cpu(), box=framed.box)
    try:
        scores = _dense(twin, whole)[:, columns if isinstance(columns, slice) else columns.cpu()]
    except RuntimeError:
        return []
    return [_outcome(scores, parameters)]


def _outcome(scores: Tensor, inputs: Sequence[Tensor]) -> _Outcome:
    """Scores and their gradients for a cotangent that is the same for every run."""
    if not inputs or not scores.requires_grad:
        return _Outcome(scores.detach(), tuple(torch.zeros_like(tensor) for tensor in inputs))
    # b x K cotangent v; for each input the gradient of the sum of v * scores
    cotangent = torch.randn(scores.shape, generator=torch.Generator().manual_seed(SEED)).to(scores)
    gradients = torch.autograd.grad(
        scores, inputs, cotangent, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return _Outcome(scores.detach(), gradients)


def _engine_errors(run: Callable[[], Tensor], inputs: Sequence[Tensor], reference: _Outcome) -> list[Parity]:
    """The errors of a run with gradients and of two runs without: the second one reads the frame's cache."""
    errors = [_errors(_outcome(run(), inputs), reference)]
    with torch.no_grad():
        errors += [Parity(_relative(run(), reference.scores), 0.0) for _ in range(2)]
    return errors


def _errors(outcome: _Outcome, reference: _Outcome) -> Parity:
    gradients = [_relative(a, b) for a, b in zip(outcome.gradients, reference.gradients, strict=True)]
    return Parity(_relative(outcome.scores, reference.scores), max(gradients, default=0.0))


def _relative(value: Tensor, reference: Tensor) -> float:
    """The norm of the difference over the reference's norm; infinite where one of them alone is infinite or NaN.

    A score of minus infinity, of a label that a host leaves out, equals another one.
    """
    value, reference = value.detach().cpu().double(), reference.detach().cpu().double()
    # |value - reference| / |reference|, Euclidean norms over all numbers; over the finite ones of the reference
    difference = float(torch.where(value == reference, 0.0, value - reference).norm())
    if difference == 0:
        return 0.0
    norm = float(reference[reference.isfinite()].norm())
    return difference / norm if norm > 0 and difference < float("inf") else float("inf")


def _largest(errors: Sequence[Parity]) -> Parity:
    return Parity(max(e.scores for e in errors), max(e.gradient for e in errors))
