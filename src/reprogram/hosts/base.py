"""The contract of a host: a frozen classifier that turns [0, 1] pixels into scores and counts every call."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from reprogram.errors import ConfigError
from reprogram.hosts._frozen import Outputs
from reprogram.hosts._host import FrozenHost
from reprogram.hosts._info import HostInfo
from reprogram.hosts._meter import Meter
from reprogram.hosts._wrap import wrapped
from reprogram.registry import Component, format_spec
from reprogram.types import Access
from reprogram.utils.contracts import breach

__all__ = ["Host", "HostInfo", "HostSource", "Meter"]


class Host(FrozenHost):
    """A frozen classifier.

    It takes pixels in [0, 1] and normalises the whole canvas once, inside. It never trains: its parameters don't
    require grad and `train()` leaves it in evaluation mode. Without "gradient" access it gives no gradient. A module
    given to `wrap` isn't touched; the host holds a frozen view of it that shares its parameters and has buffers of its
    own: wrap it anew after training it further.

    Args:
        net: the classifier; its input are normalised pixels.
        info: the host's record.
        untrained: a function from a seed to the same architecture with random weights, for the baseline.
        guard: the defences before the classifier, see the source `defended`; None for none. Then no features come out,
            and all scores are computed.

    Attributes:
        engine: how `Framed` batches run. "shared" computes what the batch shares once (`reprogram.engine`), "dense"
            every image whole; the scores are the same up to rounding.
        precision: the type that the host computes in. Pixels, scores and the gradient of the pixels are of its
            weights' own type; "float32" computes in that type, whichever it is.
        asked_apart: images that another host was asked for while this one was built of it, and that this one's meter
            doesn't count; negative where the meter counts what was asked before.
    """

    asked_apart: int = 0

    @property
    def asked_to_build(self) -> int:
        """The images that it was asked for while it was built, as long as it wasn't asked for others.

        Weights that are here are tried out too, and that is nobody's bill: 0.
        """
        has_weights = next(self.net.parameters(), None) is not None
        return 0 if has_weights else self.meter.billed + self.asked_apart

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
                with probabilities below 1e-12 taken as 1e-12. "labels" of one that gives each image's top label, a name
                or an index; "top-k" of one that gives (label, number) pairs, or a mapping, the numbers probabilities,
                percent or independent. Both need `class_names`, and the host's scores are the evidence of the answers.

        Returns:
            The host; a module is left exactly as it came.

        Raises:
            ConfigError: a call with a blank image fails or doesn't give one row of scores, or of probabilities.

        Warns:
            UserWarning: the scores look like probabilities, and `outputs` doesn't say so; they depend on chance, on the
                other images of a batch, or on whether gradients are computed; `mean` and `std` look swapped.
        """
        with torch.inference_mode(False), torch.enable_grad():  # What it gives away is seen, whatever the caller set.
            return wrapped(
                cls,
                classifier,
                size=size,
                channels=channels,
                mean=mean,
                std=std,
                class_names=class_names,
                name=name,
                access=access,
                licence=licence,
                outputs=outputs,
            )


class HostSource(Component):
    """A source of hosts, such as a library of models. A variant implements `build`.

    Args:
        config: the variant's `Config`.

    Attributes:
        is_local: whether its hosts compute here, and not behind a network.
    """

    is_local: ClassVar[bool] = True

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

    def built(self, *, download: bool = False) -> Host:
        """Build the host, and see that it is one.

        Args:
            download: whether weights that aren't here may be fetched.

        Raises:
            HostUnavailableError: weights or packages aren't here.
            ConfigError: the configuration names something that doesn't exist, or `build` gives no `Host`.
        """
        host = self.build(download=download)
        if not isinstance(host, Host):
            raise breach(self, f"builds {'nothing' if host is None else type(host).__name__}; return a Host")
        return host

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
        host = self.built()
        if host.untrained is None:
            raise ConfigError(f"host {host.info.id}: its architecture can't be built anew, it has no untrained twin")
        twin: Host = host.untrained(seed)
        return twin

    @classmethod
    def catalogue(cls, pattern: str) -> list[str]:
        """The models that this source can build, by name; by default none is listed.

        Args:
            pattern: shell-style, that the names match.
        """
        return []
