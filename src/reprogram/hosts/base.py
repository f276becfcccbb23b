"""The contract of a host: a frozen classifier, [0, 1] pixels in, scores out, every call counted."""

import dataclasses
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reprogram.engine import Prepared
from reprogram.errors import ConfigError
from reprogram.framed import Framed
from reprogram.hosts._nets import (
    Call,
    LogProbabilities,
    Outputs,
    check_finite,
    check_outputs,
    frozen_view,
    scores_of,
)
from reprogram.registry import Component, format_spec
from reprogram.settings import Access, EngineName
from reprogram.unchanged import Kept, Snapshot

PREPARING = threading.RLock()
"""Tracing changes `nn.Module` for the whole process: one host at a time."""

MAX_SIZE = 4096
MAX_COUNT = 100_000
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
NO_LICENCE = "random weights: none"
"""Of weights that nobody trained."""


@dataclass(frozen=True, kw_only=True)
class HostInfo:
    """The record of a host.

    Attributes:
        id: the spec that builds it.
        num_classes: K.
        size: height and width of its input, in pixels.
        channels: of its input.
        mean: subtracted from [0, 1] pixels, a channel.
        std: divides what is left, a channel.
        interpolation: how photographs are resized for it.
        crop: the part of a photograph's shorter side that its central crop keeps.
        class_names: its K labels, or None where they have no names.
        licence: of the weights.
        access: what it gives away.
    """

    id: str
    num_classes: int
    size: tuple[int, int]
    channels: int = 3
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    crop: float = 0.875
    class_names: tuple[str, ...] | None = None
    licence: str = "unknown"
    access: Access = "gradient"

    def __post_init__(self) -> None:
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ConfigError(f"host {self.id}: mean and std need {self.channels} values, one a channel")
        if min(self.std) <= 0:
            raise ConfigError(f"host {self.id}: std {self.std} holds a value that isn't positive")
        if self.class_names is not None and len(self.class_names) != self.num_classes:
            raise ConfigError(f"host {self.id}: {len(self.class_names)} class names for {self.num_classes} classes")

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, H, W."""
        return self.channels, *self.size

    def label(self, index: int) -> str:
        """The name of a host label."""
        return self.class_names[index] if self.class_names else f"host label {index}"


@dataclass
class Meter:
    """What a host was asked for: a query count that can't be under-reported."""

    calls: int = 0
    images: int = 0


class Host(nn.Module):
    """A frozen classifier.

    It takes pixels in [0, 1] and normalises the whole canvas once, inside. It never trains: its parameters don't
    require grad and `train()` leaves it in evaluation mode. A module given to `wrap` isn't touched; the host holds a
    frozen view of it that shares its parameters and has buffers of its own: wrap it anew after training it further.

    Args:
        net: the classifier, on normalised pixels.
        info: its record.
        untrained: builds the same architecture with random weights from a seed, for the baseline.

    Attributes:
        engine: how `Framed` batches run. "shared" computes what the batch shares once (`reprogram.engine`), "dense"
            every image whole; the scores are the same up to rounding.
    """

    def __init__(self, net: nn.Module, info: HostInfo, *, untrained: "Callable[[int], Host] | None" = None) -> None:
        super().__init__()
        self.net = frozen_view(net)
        self.info = info
        self.meter = Meter()
        self.untrained = untrained
        self.engine: EngineName = "shared"
        self.register_buffer("mean", torch.tensor(info.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(info.std).view(1, -1, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor
        self._prepared: list[tuple[Snapshot, Prepared]] = []
        self._frame = Kept()
        check_finite(self.net, info.id)
        self.train(False)

    @classmethod
    def wrap(
        cls,
        classifier: Callable[[Tensor], Tensor],
        *,
        size: int | tuple[int, int] = 224,
        channels: int = 3,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        class_names: tuple[str, ...] | list[str] | None = None,
        name: str = "callable",
        access: Access | None = None,
        licence: str = "unknown",
        outputs: Outputs = "scores",
    ) -> "Host":
        """Make a host of any `nn.Module` or callable.

        Args:
            classifier: b × C × H × W normalised pixels to b × K scores.
            size: of its input in pixels, one number or height and width.
            channels: of its input.
            mean: of the normalisation, a channel; none by default: the classifier sees [0, 1] pixels.
            std: of the normalisation, a channel.
            class_names: its K labels.
            name: what reports call it.
            access: what it gives away; by default what one call with a blank image shows.
            licence: of its weights.
            outputs: "probabilities" of a classifier that ends with a softmax: the host's scores are their logarithm,
                with probabilities below 1e-12 taken as 1e-12.

        Returns:
            The host; a module is left exactly as it came.

        Raises:
            ConfigError: a call with a blank image fails or doesn't give one row of scores, or of probabilities.

        Warns:
            UserWarning: the scores look like probabilities, and `outputs` doesn't say so.
        """
        height, width = (size, size) if isinstance(size, int) else size
        owner = getattr(classifier, "__self__", None)
        if isinstance(owner, nn.Module) and classifier == owner.forward:
            classifier = owner
        net = classifier if isinstance(classifier, nn.Module) else Call(classifier)
        info = HostInfo(
            id=name,
            num_classes=1,
            size=(height, width),
            channels=channels,
            mean=tuple(mean) if mean is not None else (0.0,) * channels,
            std=tuple(std) if std is not None else (1.0,) * channels,
            licence=licence,
        )
        host = cls(net, info)
        dtype, device = host._dtype_and_device()
        blank = torch.full((1, *info.shape), 0.5, dtype=dtype, device=device, requires_grad=True)
        try:
            scores = host.net(host._normalised(blank))
        except Exception as error:
            shape = f"{channels}x{height}x{width}"
            raise ConfigError(f"host {name}: a call with a blank {shape} image failed: {error}") from error
        scores = scores_of(scores, name)
        check_outputs(scores, outputs, name)
        if outputs == "probabilities":
            host.net = LogProbabilities(host.net, name)
        host.info = dataclasses.replace(
            info,
            num_classes=scores.shape[1],
            class_names=tuple(class_names) if class_names is not None else None,
            access=access or ("gradient" if scores.requires_grad else "scores"),
        )
        return host

    @property
    def fingerprint(self) -> str:
        """SHA-256 of weights and preprocessing; of the name and shapes alone where there are no weights to see."""
        digest = hashlib.sha256(repr((self.info.shape, self.info.mean, self.info.std, self.info.num_classes)).encode())
        state = self.net.state_dict()
        if not state:
            return f"unverified:{self.info.id}:{digest.hexdigest()[:16]}"
        for name in sorted(state):
            tensor = state[name].detach().cpu().contiguous()
            tensor = tensor.float() if tensor.is_floating_point() else tensor  # model.double() is the same host.
            digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            digest.update(tensor.view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
        return digest.hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_prepared": []}  # A copy makes its own.

    def train(self, mode: bool = True) -> "Host":
        """Stay in evaluation mode, whatever `mode` says: a host is frozen."""
        super().train(False)
        return self

    def forward(
        self, pixels: "Float[Tensor, 'b C H W'] | Framed", labels: "Int[Tensor, ' m'] | None" = None
    ) -> Float[Tensor, "b K"]:
        """Classify canvases.

        Args:
            pixels: in [0, 1], a tensor or a `Framed` batch.
            labels: the host labels whose scores are wanted; all by default.

        Returns:
            b × K scores (logits). Where `labels` are given, the others may not be computed: they are NaN then.

        Raises:
            ConfigError: another size or number of channels, or scores that aren't b × K.
        """
        if isinstance(pixels, Framed) and self.engine == "dense":
            pixels = pixels.dense()
        images = self._normalised(pixels)
        if labels is not None and len(labels) < self.info.num_classes:
            some = self.prepared.some(images, labels, self.info.num_classes)
            if some is not None:
                unread = some.new_full((len(pixels), self.info.num_classes), float("nan"))
                return unread.index_copy(1, labels, some)
        scores = scores_of(self.prepared(images), self.info.id)
        if scores.shape != (len(pixels), self.info.num_classes):
            raise ConfigError(
                f"host {self.info.id}: scores of shape {tuple(scores.shape)}, "
                f"expected {len(pixels)} x {self.info.num_classes}"
            )
        return scores

    def features(self, pixels: "Float[Tensor, 'b C H W'] | Framed") -> tuple[Float[Tensor, "b d"], str]:
        """What the host's last layer reads: the features of a linear probe.

        Args:
            pixels: in [0, 1], a tensor or a `Framed` batch.

        Returns:
            b × d features, and where they come from: the layer's name, or "scores" where no last layer is to be seen.
        """
        images = self._normalised(pixels.dense() if isinstance(pixels, Framed) else pixels)
        names = []
        for name, layer in self.net.named_modules():
            sizes = getattr(layer, "out_features", None), getattr(layer, "out_channels", None)
            if self.info.num_classes in sizes and not isinstance(layer, torch.jit.ScriptModule):
                names.append(name)
        net = self.prepared.module
        if not set(names) <= {name for name, _ in net.named_modules()}:
            net = self.net
        seen: list[tuple[str, Tensor]] = []
        hooks = [net.get_submodule(name).register_forward_pre_hook(partial(_note, seen, name)) for name in names]
        try:
            scores = scores_of(net(images), self.info.id)
        finally:
            for hook in hooks:
                hook.remove()
        if not seen:
            return scores, "scores"
        name, features = seen[-1]
        return (features.mean(dim=(2, 3)) if features.ndim == 4 else features.flatten(1)), f"input of {name}"

    def _normalised(self, pixels: Any) -> Any:
        """Check, count and normalise a batch, tensor or `Framed`: all calls come through here."""
        whole = pixels.frame if isinstance(pixels, Framed) else pixels
        if whole.ndim != 4 or tuple(whole.shape[1:]) != self.info.shape:
            expected = " x ".join(map(str, self.info.shape))
            raise ConfigError(f"host {self.info.id}: images of shape {tuple(whole.shape)}, expected b x {expected}")
        self.meter.calls += 1
        self.meter.images += len(pixels)
        dtype, _ = self._dtype_and_device()
        mean, std = self.mean.to(dtype), self.std.to(dtype)

        def normalised(part: Tensor) -> Tensor:
            return (part.to(dtype) - mean) / std

        if not isinstance(pixels, Framed):
            return normalised(pixels)
        if torch.is_grad_enabled():
            frame = normalised(pixels.frame)
        else:
            frame = self._frame.get(lambda: normalised(whole), whole, mean, std)
        return Framed(frame=frame, window=normalised(pixels.window), box=pixels.box)

    @property
    def prepared(self) -> Prepared:
        """What runs: an equal and faster form of `net`, made anew when weights change."""
        with PREPARING, torch.inference_mode(False):
            if not self._prepared or not self._prepared[0][0].fits(self.net):
                self._prepared[:] = [(Snapshot(self.net), Prepared(self.net))]
            return self._prepared[0][1]

    def _dtype_and_device(self) -> tuple[torch.dtype, torch.device]:
        for parameter in self.net.parameters():
            if parameter.is_floating_point():
                return parameter.dtype, parameter.device
        return self.mean.dtype, self.mean.device


class HostSource(Component):
    """Where hosts come from. A variant implements `build`.

    Args:
        config: the variant's `Config`.
    """

    def __init__(self, config: Any) -> None:
        self.config = config

    def build(self, *, download: bool = False) -> Host:
        """Build the host.

        Args:
            download: whether weights that aren't here may be fetched.

        Raises:
            HostUnavailableError: weights or packages aren't here.
            ConfigError: the configuration names something that doesn't exist.
        """
        raise NotImplementedError

    def info(self) -> HostInfo | None:
        """The record, as far as it is known before weights are loaded; by default it isn't.

        Raises:
            ConfigError: the configuration names something that doesn't exist.
        """
        return None

    def has_random_weights(self) -> bool:
        """Whether the configuration asks for random weights; by default `pretrained=False` does."""
        return getattr(self.config, "pretrained", True) is False

    def spec(self) -> str:
        """The spec by which results and program files name this source: it holds everything but anybody's folders."""
        return format_spec(self)

    def nameable(self) -> bool:
        """Whether a stranger's program file may have it built: no option chooses files or special arguments."""
        return not getattr(self.config, "kwargs", None)

    def untrained(self, seed: int) -> Host:
        """The same architecture and preprocessing with random weights; override it where trained weights may be absent.

        Args:
            seed: of the random weights.

        Raises:
            ConfigError: the architecture can't be built anew.
        """
        host = self.build()
        if host.untrained is None:
            raise ConfigError(f"host {host.info.id}: its architecture can't be built anew, it has no untrained twin")
        return host.untrained(seed)

    @classmethod
    def catalogue(cls, pattern: str) -> list[str]:
        """What this source can build whose name matches a shell-style pattern; by default nothing is listed."""
        return []


def check_sizes(*, size: int = 0, **counts: int) -> None:
    """Refuse an input size or a number of classes or channels that no host has.

    Raises:
        ConfigError: says which.
    """
    if not 0 <= size <= MAX_SIZE:
        raise ConfigError(f"size={size}; 0 for the model's own, or at most {MAX_SIZE} pixels")
    for name, value in counts.items():
        if not 0 <= value <= MAX_COUNT:
            raise ConfigError(f"{name}={value}; at most {MAX_COUNT}, not negative")


def check_kwargs(kwargs: dict[str, Any]) -> None:
    """Refuse arguments of an architecture that choose weights or files: specs are data, and may be a stranger's.

    Raises:
        ConfigError: names the argument.
    """
    for name in kwargs:
        if any(part in name for part in ("pretrained", "checkpoint", "weights", "cache", "path", "file", "url", "hf_")):
            raise ConfigError(
                f"kwargs: {name!r} isn't taken; weights come from the model's tag or from checkpoint:FILE"
            )


def _note(seen: list[tuple[str, Tensor]], name: str, _: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Remember what a layer reads."""
    if inputs and isinstance(inputs[0], Tensor):
        seen.append((name, inputs[0]))
