"""The trial of a host, once, when it is wrapped or loaded: every way in which it may run gives the module's scores."""

import contextlib
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from reprogram.errors import ConfigError, ExportParityError, ReprogramError
from reprogram.framed import Box, Framed
from reprogram.hosts import _parity
from reprogram.hosts._frozen import Call, scores_of
from reprogram.hosts._guard import Guarding, Images
from reprogram.hosts._host import FrozenHost
from reprogram.hosts._info import look_swapped
from reprogram.hosts._view import AsGiven, evaluation, overrides_train
from reprogram.utils.contracts import breach
from reprogram.utils.seeding import Draws, seeded

MAX_ERROR = 1e-3
"""The largest relative error between two ways to run a host; beyond it, rounding is looked at more closely."""

MAX_PIXEL_ERROR = 1e-4
"""The largest difference between pixels that a defence changed in a whole image and in a window: sums change order."""

MAX_DIFFERING = 1e-3
"""The largest share of pixels that differ by more: where a defence rounds, the order of sums moves few of them far."""

MAX_REPEAT_ERROR = 1e-4
"""The largest relative difference between two calls of a module with the same images: sums may change their order."""

MAX_CALL_ERROR = 1e-2
"""The largest relative difference between two calls of a callable with one image, which may round as it likes; so may
a module in half precision or on a GPU, for one image alone and beside another one."""

REPEATS = 4
"""How often a module is asked again whose copy gave other scores than itself: chance may be the reason."""

CHANCE = "two calls gave different scores for one image: they depend on chance"
ADVICE = "a module in training mode does so: call module.eval() first"
ENGINE = "the engine differs from the module itself; every image runs whole, by the module; please report it"
GRADIENTS = "its scores are others where gradients are computed: what it learns on isn't what answers"
ANY_NUMBER = "a host takes any number of images of its size"
COMPANY = (
    "the scores of an image depend on the images beside it; a normalisation in training mode does so: call eval() on "
    "every module that takes part"
)


def try_out(host: FrozenHost, given: nn.Module | None = None) -> None:
    """Run a host on two images of noise, and have it run so that its scores are those of the module itself.

    A module that its copy or the engine gets wrong runs as it was given, image by image. The meter counts the calls of
    a callable alone: everything else is the host's own work.

    Args:
        host: the host; how it runs may be changed.
        given: the module that was wrapped, with the host's outputs; None where there is only the host's own.

    Raises:
        ConfigError: a call fails, it doesn't give a row of scores for each image, or a defence before it changes pixels
            by others that are farther away than it says.

    Warns:
        UserWarning: scores of one image differ between calls or with the images beside it, the engine gets the host
            wrong, or mean and standard deviation look swapped.
    """
    if look_swapped(host.info.mean, host.info.std):
        _warn(host, f"mean {host.info.mean} and std {host.info.std} look as if they had changed places")
    if host.mean.is_meta or not host.is_local:
        return  # Shapes alone; or nothing here that could be tried without a bill.
    framed = _noise(host)
    for defence in host.guard.defences if host.guard else ():
        _try_reach(defence, framed)
    with seeded(None, host.mean.device), torch.no_grad():
        if isinstance(getattr(host.net, "net", host.net), Call):
            _try_call(host, framed.dense())
            return
        with host.uncounted():
            _try_module(host, framed, given)


def _noise(host: FrozenHost) -> Framed:
    """Two images of noise that are equal outside a window in their middle."""
    channels, height, width = host.info.shape
    box = Box(top=height // 4, left=width // 4, height=(height + 1) // 2, width=(width + 1) // 2)
    dtype, device = host._dtype_and_device()
    generator = torch.Generator().manual_seed(_parity.SEED)
    frame = torch.rand(1, channels, height, width, generator=generator)
    window = torch.rand(2, channels, box.height, box.width, generator=generator)
    return Framed(frame=frame.to(device, dtype), window=window.to(device, dtype), box=box)


def _try_reach(defence: Guarding, framed: Framed) -> None:
    """Have a defence that says how far it reaches change two images whole, and then their window alone."""
    reach = getattr(defence, "reach", None)
    if reach is None:
        return
    seen = []

    def ask(images: Images) -> Tensor:
        seen.append(images.dense() if isinstance(images, Framed) else images)
        return framed.frame.new_zeros(len(images), 2)

    with torch.no_grad():
        for images in (framed.dense(), framed):
            defence.answer(ask, images, Draws(seed=0, first=0, count=len(framed)))
    whole, apart = (torch.cat(parts) for parts in (seen[: len(seen) // 2], seen[len(seen) // 2 :]))
    differing = (whole - apart).abs() > MAX_PIXEL_ERROR
    if differing.double().mean() > MAX_DIFFERING:
        raise breach(
            defence, f"changes pixels by others that are farther away than reach={reach}; say how far, or None"
        )


def _try_call(host: FrozenHost, images: Tensor) -> None:
    """Call a callable with one image, alone and beside another one: scores that differ depend on chance or company."""
    alone, beside = (_scores(host, host.net, host._normalised(part)) for part in (images[:1], images))
    _check_numbers(host, beside)
    if _parity._relative(beside[:1], alone) > MAX_CALL_ERROR:
        _warn(host, f"two calls gave different scores for one image; {ADVICE}")


def _try_module(host: FrozenHost, framed: Framed, given: nn.Module | None) -> None:
    images = host._normalised(framed.dense())
    is_exact = images.device.type == "cpu" and images.element_size() > 2  # GPUs may multiply in fewer bits.
    with _unwritten(given or nn.Identity()):
        reference = _scores(host, host.net, images)
    _check_numbers(host, reference)
    if given is not None and not (overrides_train(given) and any(part.training for part in given.modules())):
        with _unwritten(given), evaluation(given):
            wanted, again = (_scores(host, given, images) for _ in range(2))
        differs = _parity._relative(reference, wanted) > MAX_ERROR
        if differs:
            host.net = AsGiven(given, host.net)
        repeats = [again, *(_scores(host, host.net, images) for _ in range(REPEATS * differs))]
        if any(_parity._relative(scores, wanted) > (MAX_REPEAT_ERROR if is_exact else MAX_ERROR) for scores in repeats):
            _warn(host, CHANCE)
            return
        reference = wanted if differs else reference
    with _unwritten(host.net):
        alone = _scores(host, host.net, images[:1])
    if _parity._relative(alone, reference[:1]) > (MAX_ERROR if is_exact else MAX_CALL_ERROR):
        _warn(host, COMPANY)
    engine = host.prepared
    if engine.module is host.net:
        return
    runs = (engine(images.clone()), *((engine(host._normalised(framed)),) if engine.shares else ()))
    engine.forget()
    if all(_parity._relative(scores_of(scores, host.info.id), reference) <= MAX_ERROR for scores in runs):
        return
    if _parity._relative(_scores(host, host.net, images), reference) > MAX_ERROR:
        _warn(host, CHANCE)
        return
    try:
        _parity._check_own(_parity.bare(host), framed, (), None)
    except ExportParityError:
        host.run_as_is()
        with torch.enable_grad():
            learning = _scores(host, host.net, images).detach()
        _warn(host, ENGINE if _parity._relative(learning, reference) <= MAX_ERROR else GRADIENTS)


def first_line(error: Exception) -> str:
    """The first line of an error's message, of at most 300 characters; its class's name where it has none.

    Args:
        error: any exception.
    """
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__


def _scores(host: FrozenHost, net: nn.Module, images: Tensor) -> Tensor:
    """The scores of normalised images, checked for their shape."""
    name = host.info.id
    try:
        scores = scores_of(net(images.clone()), name)  # A module may write into its input.
    except ReprogramError:
        raise
    except Exception as error:  # A module raises whatever it likes.
        shape = "x".join(map(str, images.shape))
        raise ConfigError(
            f"host {name}: a call with {shape} pixels failed: {first_line(error)}; {ANY_NUMBER}"
        ) from error
    if tuple(scores.shape) != (len(images), host.info.num_classes):
        raise ConfigError(
            f"host {name}: {len(images)} images gave scores of shape {tuple(scores.shape)}, expected "
            f"{len(images)} x {host.info.num_classes}; {ANY_NUMBER}"
        )
    return scores


def _check_numbers(host: FrozenHost, scores: Tensor) -> None:
    """Refuse scores of noise that aren't numbers: weights such as a negative variance give them."""
    if torch.isnan(scores).any():
        raise ConfigError(
            f"host {host.info.id}: the scores of images of noise aren't numbers (NaN); mend its weights or its code"
        )


@contextlib.contextmanager
def _unwritten(net: nn.Module) -> Iterator[None]:
    """A context after which a module's buffers hold what they held before."""
    before = [(buffer, _version(buffer), buffer.clone()) for buffer in net.buffers()]
    try:
        yield
    finally:
        for buffer, version, values in before:
            unknown = version is None and torch.is_inference_mode_enabled()  # Elsewhere nobody may write into it.
            if unknown or _version(buffer) != version:
                buffer.copy_(values)


def _version(tensor: Tensor) -> int | None:
    """How often a tensor was written to; None where it doesn't count that."""
    return None if tensor.is_inference() else tensor._version


def _warn(host: FrozenHost, message: str) -> None:
    warnings.warn(f"host {host.info.id}: {message}", UserWarning, stacklevel=5)
