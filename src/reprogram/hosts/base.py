"""The contract of a host: a frozen classifier that turns [0, 1] pixels into scores and counts every call."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reprogram.engine.prepared import Prepared
from reprogram.errors import ConfigError
from reprogram.framed import Framed
from reprogram.hosts._features import last_layer_input
from reprogram.hosts._frozen import LogProbabilities, Outputs, check_finite, fingerprint, frozen_view, scores_of
from reprogram.hosts._info import HostInfo, Meter
from reprogram.hosts._prepared import PreparedModules, compute_dtype, into_host, out_of_host
from reprogram.hosts._wrap import module_of, probe
from reprogram.registry import Component, format_spec
from reprogram.types import Access, EngineName, Precision
from reprogram.utils.tensor_cache import TensorCache

__all__ = ["Host", "HostInfo", "HostSource", "Meter"]


class Host(nn.Module):
    """A frozen classifier.

    It takes pixels in [0, 1] and normalises the whole canvas once, inside. It never trains: its parameters don't
    require grad and `train()` leaves it in evaluation mode. A module given to `wrap` isn't touched; the host holds a
    frozen view of it that shares its parameters and has buffers of its own: wrap it anew after training it further.

    Args:
        net: the classifier; its input are normalised pixels.
        info: the host's record.
        untrained: a function from a seed to the same architecture with random weights, for the baseline.

    Attributes:
        engine: how `Framed` batches run. "shared" computes what the batch shares once (`reprogram.engine`), "dense"
            every image whole; the scores are the same up to rounding.
        precision: the type that the host computes in. Pixels, scores and the gradient of the pixels are of its
            weights' own type; "float32" computes in that type, whichever it is.
    """

    def __init__(self, net: nn.Module, info: HostInfo, *, untrained: "Callable[[int], Host] | None" = None) -> None:
        super().__init__()
        self.net = frozen_view(net)
        self.info = info
        self.meter = Meter()
        self.untrained = untrained
        self.engine: EngineName = "shared"
        self.precision: Precision = "float32"
        self.register_buffer("mean", torch.tensor(info.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(info.std).view(1, -1, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor
        self._prepared = PreparedModules()
        self._frames: dict[torch.dtype, TensorCache] = {}
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
            size: height and width of the classifier's input in pixels, or one number for both.
            channels: C, the number of channels of its input.
            mean: C numbers that are subtracted from [0, 1] pixels; without them the classifier sees [0, 1] pixels.
            std: C numbers that divide the difference.
            class_names: the names of its K labels.
            name: the host's name in reports.
            access: what the classifier gives away; by default what one call with a blank image shows.
            licence: the licence of its weights.
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
        info = HostInfo(
            id=name,
            num_classes=1,
            size=(height, width),
            channels=channels,
            mean=tuple(mean) if mean is not None else (0.0,) * channels,
            std=tuple(std) if std is not None else (1.0,) * channels,
            licence=licence,
        )
        host = cls(module_of(classifier), info)
        dtype, device = host._dtype_and_device()
        blank = torch.full((1, *info.shape), 0.5, dtype=dtype, device=device, requires_grad=True)
        scores = probe(host.net, host._normalised(blank), outputs, name)
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
        return fingerprint(self.net, self.info)

    def train(self, mode: bool = True) -> "Host":
        """Stay in evaluation mode: a host is frozen.

        Args:
            mode: has no effect.
        """
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
            ConfigError: the pixels have another size or number of channels, or the scores aren't b × K.
        """
        if isinstance(pixels, Framed) and self.engine == "dense":
            pixels = pixels.dense()
        images = self._normalised(pixels)
        own, _ = self._dtype_and_device()
        if labels is not None and len(labels) < self.info.num_classes:
            columns = self.prepared.some(images, labels, self.info.num_classes)  # b x m
            if columns is not None:
                columns = out_of_host(columns, own, images)
                unread = columns.new_full((len(pixels), self.info.num_classes), float("nan"))
                return unread.index_copy(1, labels, columns)
        scores = scores_of(self.prepared(images), self.info.id)
        if scores.shape != (len(pixels), self.info.num_classes):
            raise ConfigError(
                f"host {self.info.id}: scores of shape {tuple(scores.shape)}, "
                f"expected {len(pixels)} x {self.info.num_classes}"
            )
        return out_of_host(scores, own, images)

    def features(self, pixels: "Float[Tensor, 'b C H W'] | Framed") -> tuple[Float[Tensor, "b d"], str]:
        """The input of the host's last layer: the features that a linear probe reads.

        Args:
            pixels: in [0, 1], a tensor or a `Framed` batch.

        Returns:
            b × d features, and where they come from: the layer's name, or "scores" where no last layer can be seen.
        """
        images = self._normalised(pixels.dense() if isinstance(pixels, Framed) else pixels)
        features, where = last_layer_input(self.net, self.prepared.module, images, self.info)
        return features.to(self.mean.dtype), where

    def _normalised(self, pixels: Any) -> Any:
        """Check, count and normalise a batch, tensor or `Framed`: all calls come through here."""
        whole = pixels.frame if isinstance(pixels, Framed) else pixels
        if whole.ndim != 4 or tuple(whole.shape[1:]) != self.info.shape:
            expected = " x ".join(map(str, self.info.shape))
            raise ConfigError(f"host {self.info.id}: images of shape {tuple(whole.shape)}, expected b x {expected}")
        self.meter.count(len(pixels))
        own, _ = self._dtype_and_device()
        mean, std, dtype = self.mean.to(own), self.std.to(own), self.dtype

        def normalised(part: Tensor) -> Tensor:
            return into_host((part.to(own) - mean) / std, dtype)  # b x C x h x w, per channel

        if not isinstance(pixels, Framed):
            return normalised(pixels)
        if torch.is_grad_enabled():
            frame = normalised(pixels.frame)
        else:
            frame = self._frames.setdefault(dtype, TensorCache()).get(lambda: normalised(whole), whole, mean, std)
        return Framed(frame=frame, window=normalised(pixels.window), box=pixels.box)

    @property
    def dtype(self) -> torch.dtype:
        """The type that the host computes in; a `ConfigError` where it has no weights to convert to half precision."""
        return compute_dtype(self.net, self.precision, *self._dtype_and_device(), self.info.id)

    @property
    def prepared(self) -> Prepared:
        """The module that runs: equal to `net` up to the precision's rounding, and faster."""
        return self._prepared.get(self.net, self.dtype, self._dtype_and_device()[0])

    @contextlib.contextmanager
    def in_precision(self, precision: Precision) -> Iterator[None]:
        """Compute in another precision within this context.

        Args:
            precision: see `precision`.
        """
        before, self.precision = self.precision, precision
        try:
            yield
        finally:
            self.precision = before

    def _dtype_and_device(self) -> tuple[torch.dtype, torch.device]:
        weight = next((p for p in self.net.parameters() if p.is_floating_point()), self.mean)
        return weight.dtype, weight.device


class HostSource(Component):
    """A source of hosts, such as a library of models. A variant implements `build`.

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
        """The host's record, if it is known before weights are loaded; None, the default, if it isn't.

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
            seed: decides the random weights.

        Raises:
            ConfigError: the architecture can't be built anew.
        """
        host = self.build()
        if host.untrained is None:
            raise ConfigError(f"host {host.info.id}: its architecture can't be built anew, it has no untrained twin")
        return host.untrained(seed)

    @classmethod
    def catalogue(cls, pattern: str) -> list[str]:
        """The models that this source can build, by name; by default none is listed.

        Args:
            pattern: shell-style, that the names match.
        """
        return []
