"""The contract of a baseline: an accuracy that a result is compared with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from reprogram.hosts.base import Host
from reprogram.model import Reprogrammed
from reprogram.registry import Component
from reprogram.tasks.base import Task


@dataclass(frozen=True, kw_only=True)
class BaselineInput:
    """The run that a baseline belongs to.

    Attributes:
        model: the run's model, with the selected program.
        task: the run's task; a baseline may train on its training images and is measured on its test split.
        images_seen: training images that the program learned from, repeats counted.
        queries: the run's budget of images that the host is asked for; a baseline that asks may ask for as many
            training images. None where there is no such budget.
        seed: the run's seed.
        augmentation: the spec of how the run's training images varied.
        learn_on: does the same run on another host, with options of learning changed by their names; returns the
            learned model, the training images seen and the seconds of learning.
        predictions: n predicted classes of the test images, by what predicted them; a baseline may add its own under
            its name with underscores, and the run folder keeps them.
    """

    model: Reprogrammed
    task: Task
    images_seen: int = 0
    queries: int | None = None
    seed: int = 0
    augmentation: str = "none"
    learn_on: Callable[[Host, Mapping[str, Any]], tuple[Reprogrammed, int, float]] | None = None
    predictions: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Asks:
    """What something will ask of the host.

    Attributes:
        images: the number of task images; None where that isn't known.
        ask: asks the host with a batch of b × c × h × w task images in the same way, so that it can be timed; None
            where it can't be.
        apart: measures by a few images how many seconds it takes without the host; None where it does nothing so.
        repeats_run: whether it does all of the run again, from learning to the test, on another host.
        views: how many images of the host it asks for each task image.
    """

    images: int | None
    ask: Callable[[Tensor], Any] | None
    apart: Callable[[], float] | None = None
    repeats_run: bool = False
    views: int = 1

    @property
    def host_images(self) -> int | None:
        """The number of images that the host is asked for; None where that isn't known."""
        return None if self.images is None else self.images * self.views


class Baseline(Component):
    """An accuracy without the program. An author writes `measure`; the module's first line is its title in reports.

    Attributes:
        always: whether it is measured for every run, because it costs nothing.
        attacks: whether it is what somebody with the run's data and access could do instead of learning a program. The
            best of these is what the program's net gain is held against; such a baseline keeps its `predictions`.

    Args:
        config: the variant's `Config`.
    """

    always: ClassVar[bool] = False
    attacks: ClassVar[bool] = False

    def __init__(self, config: Any) -> None:
        self.config = config

    def asks(self, run: BaselineInput) -> Asks:
        """What `measure` will ask of the run's host; by default that isn't known.

        Args:
            run: the run as it will be.
        """
        return Asks(images=None, ask=None)

    def check(self, run: BaselineInput) -> None:
        """Refuse a run that the baseline can't be measured for, before it learns; by default nothing is refused.

        Args:
            run: the run as it will be.

        Raises:
            ConfigError: the baseline can't be measured for this run.
        """

    def measure(self, run: BaselineInput) -> dict[str, Any]:
        """Measure the baseline on the test split.

        Args:
            run: the run whose accuracy is compared; its model, host and task aren't changed.

        Returns:
            The fields that `result.json` gets: `accuracy`, and `n` and `interval` where images were counted.

        Raises:
            ConfigError: the baseline can't be measured for this run.
        """
        raise NotImplementedError
