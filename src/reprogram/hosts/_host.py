"""How a host runs: it normalises pixels, counts every call, and computes by the engine or as its module is."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reprogram.engine.precision import FAILURES
from reprogram.engine.prepared import Prepared
from reprogram.engine.trace import set_evaluation
from reprogram.errors import ConfigError, ReprogramError
from reprogram.framed import Framed
from reprogram.hosts._asking import Asker, Store, exactly
from reprogram.hosts._features import last_layer_input
from reprogram.hosts._frozen import check_pixels, scores_of
from reprogram.hosts._guard import Guard
from reprogram.hosts._info import HostInfo
from reprogram.hosts._meter import Meter
from reprogram.hosts._prepared import PreparedModules, compute_dtype, into_host, out_of_host
from reprogram.hosts._state import check_finite, check_shapes, fingerprint, is_plain
from reprogram.hosts._view import frozen_view
from reprogram.types import EngineName, Precision
from reprogram.utils.tensor_cache import TensorCache
from reprogram.utils.text import html_table, printable

Result = TypeVar("Result")


class FrozenHost(nn.Module):
    """All of `reprogram.Host`, which describes it, but `wrap`: the code of `wrap` imports this class.

    Args:
        net: the classifier; its input are normalised pixels.
        info: the host's record.
        untrained: a function from a seed to the same architecture with random weights, for the baseline.
        guard: the defences before the classifier; None for none.
    """

    is_local: bool = True
    sentinels: int = 0
    images_per_request: int | None = None
    concurrent_requests: int = 1
    asks_per_image: int = 1

    def __init__(
        self,
        net: nn.Module,
        info: HostInfo,
        *,
        untrained: "Callable[[int], Any] | None" = None,
        guard: Guard | None = None,
    ) -> None:
        super().__init__()
        check_shapes(net, info.id)
        self.net = frozen_view(net)
        self.info = info
        self.meter = Meter()
        self.answers: Store | None = None
        self.untrained = untrained
        self.guard = guard
        self.engine: EngineName = "shared"
        self.precision: Precision = "float32"
        self.register_buffer("mean", torch.tensor(info.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(info.std).view(1, -1, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor
        self._prepared = PreparedModules(as_is=not is_plain(self.net))
        self._frames: dict[torch.dtype, TensorCache] = {}
        check_finite(self.net, info.id)
        self.train(False)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of weights and preprocessing; of the name and shapes alone where there are no weights to see."""
        return fingerprint(self.net, self.info)

    def facts(self) -> dict[str, str]:
        """What people want to know of the host, by what it is; its modules are those of `net`."""
        info = self.info.facts()
        numbers = sum(parameter.numel() for parameter in self.net.parameters())
        return {name: info[name] for name in ("input", "classes", "access")} | {"frozen parameters": f"{numbers:,}"}

    def __repr__(self) -> str:
        facts = "; ".join(f"{name} {value}" for name, value in self.facts().items())
        return f"{type(self).__name__} {printable(self.info.id)}: {facts}"

    def _repr_html_(self) -> str:
        return html_table({"host": self.info.id, **self.facts()})

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: a host is frozen.

        Args:
            mode: has no effect.
        """
        set_evaluation(self)
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
            ConfigError: the pixels are no floats or have another size or channels, the scores aren't b × K, or the
                host has an operation that isn't there in its precision.
        """
        if self.answers is None or self.info.access == "gradient":
            return self._classified(pixels, labels)
        with torch.no_grad():
            return self._asker(self._classified).answers(pixels, exactly)

    def _classified(self, pixels: Any, labels: Tensor | None = None) -> Tensor:
        """The scores of images, which are checked and counted here; defences may compute others, or more of them."""
        first, guard = self.asked, self.guard
        check_pixels(pixels, self.info)
        self.meter.count(len(pixels))
        if guard is None or not len(pixels):
            return self._undefended(pixels, labels)
        return guard.answer(self._undefended, pixels, first)

    def _undefended(self, pixels: Any, labels: Tensor | None = None) -> Tensor:
        whole = pixels.dense() if isinstance(pixels, Framed) and self.engine == "dense" else pixels
        return self._computed(lambda: self._scores(whole, labels))

    @property
    def found_labels(self) -> tuple[str, ...]:
        """The labels that a service was seen to say, in the order of their columns; empty where all were known."""
        return ()

    def renew(self) -> None:
        """Begin anew, with a new meter: for another run on the same host."""
        self.meter = Meter()

    def check_unchanged(self, when: str) -> None:
        """Ask a service, whose weights nobody sees, for the `sentinels` again, fixed images; others aren't asked.

        Args:
            when: names the check; one that a continued run comes to again isn't asked again.

        Raises:
            HostUnavailableError: the answers are others than at the first check.
        """

    def know(self, labels: tuple[str, ...]) -> None:
        """Take the labels that a program file holds; a host whose labels were all known needs none.

        Args:
            labels: in the order of their columns.

        Raises:
            HostMismatchError: they can't be the host's.
        """

    def _asker(self, ask: Callable[[Any], Any]) -> Asker:
        return Asker(
            ask=ask,
            meter=self.meter,
            store=self.answers,
            salt=str(self.dtype).encode(),
            size=self.images_per_request,
            threads=self.concurrent_requests,
        )

    def _scores(self, pixels: Tensor | Framed, labels: Tensor | None) -> Tensor:
        images = self._in_units(pixels)
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
        if self.info.access != "gradient" or self.guard is not None:
            return self(pixels), "scores"
        whole = pixels.dense() if isinstance(pixels, Framed) else pixels
        features, where = self._computed(
            lambda: last_layer_input(self.net, self.prepared.module, self._normalised(whole), self.info)
        )
        return features.to(self.mean.dtype), where

    def _computed(self, compute: Callable[[], Result]) -> Result:
        """The result in the host's precision; "auto" stays in float32 from where an operation isn't there in half."""
        try:
            return compute()
        except FAILURES as error:
            if isinstance(error, torch.OutOfMemoryError | ReprogramError) or self.dtype == self._dtype_and_device()[0]:
                raise
            reason = str(error).partition("\n")[0]
            if self.precision != "auto":
                message = f"host {self.info.id}: can't compute in {self.precision} ({reason}); use float32"
                raise ConfigError(message) from None
        self.precision = "float32"
        return compute()

    def _normalised(self, pixels: Any) -> Any:
        """Check, count and normalise a batch, tensor or `Framed`."""
        check_pixels(pixels, self.info)
        self.meter.count(len(pixels))
        return self._in_units(pixels)

    def _in_units(self, pixels: Any) -> Any:
        """A batch, tensor or `Framed`, normalised: in units of the mean and the standard deviation."""
        whole = pixels.frame if isinstance(pixels, Framed) else pixels
        own, _ = self._dtype_and_device()
        mean, std, dtype = self.mean.to(own), self.std.to(own), self.dtype

        def normalised(part: Tensor) -> Tensor:
            part = part.to(own) if self.info.access == "gradient" else part.detach().to(own)
            return into_host((part - mean) / std, dtype)  # b x C x h x w, per channel

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

    def run_as_is(self) -> None:
        """From now on run the module itself, untraced and image by image."""
        self._prepared = PreparedModules(as_is=True)

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

    @property
    def asked(self) -> int:
        """The images that a run has asked for; a continued run counts as it did the first time, from its checkpoint."""
        return self.meter.images if self.answers is None else self.answers.used * self.asks_per_image

    @contextlib.contextmanager
    def uncounted(self) -> Iterator[Meter]:
        """In the block, a local host is asked for the program's own checks: they are no part of the bill.

        What a host elsewhere is asked for is counted all the same.

        Yields:
            The meter of the block.
        """
        meter, answers = self.meter, self.answers
        if self.is_local:
            self.meter, self.answers = Meter(), None
        try:
            yield self.meter
        finally:
            self.meter, self.answers = meter, answers

    def _dtype_and_device(self) -> tuple[torch.dtype, torch.device]:
        weights = (p for p in self.net.parameters() if p.is_floating_point() and not p.is_meta)
        weight = next(weights, self.mean)
        return weight.dtype, weight.device
