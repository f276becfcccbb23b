"""The budget of learning: how much is learned from, asked for and paid. This module doesn't import torch."""

import dataclasses
from dataclasses import dataclass

from reprogram.errors import BudgetError
from reprogram.hosts._meter import images_for

EPOCHS = 5.0
"""The budget where none is given, in passes over the training images."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The limits of a run; the first that is reached ends it.

    A run with limits of epochs or images alone depends on its seed alone. One with a limit of seconds depends on the
    machine's speed too.

    Attributes:
        epochs: passes over the training images, whole or fractional; None for no limit.
        images: training images seen, repeats counted, rounded to whole batches; None for no limit.
        seconds: seconds of learning, validation included; None for no limit.
        queries: images that the host may be asked for until learning ends, all of them counted: those that the label
            map is fitted to, those of each point that a step compares, and the validations'; None for no limit.
        requests: requests that the host may be sent until learning ends, retries included; None for no limit.
        cost: money that the host may cost until learning ends, at the price; None for no limit.
        price: of 1,000 images; no limit by itself.
    """

    epochs: float | None = None
    images: int | None = None
    seconds: float | None = None
    queries: int | None = None
    requests: int | None = None
    cost: float | None = None
    price: float | None = None

    def __post_init__(self) -> None:
        limits = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for name, value in limits.items():
            if value is not None and not 0 < value < float("inf"):
                raise BudgetError(f"{name}={value}; a positive number is expected")
        if limits.pop("price") is None and self.cost is not None:
            raise BudgetError(f"cost={self.cost} needs the price of 1,000 images; give price too")
        if all(value is None for value in limits.values()):
            raise BudgetError(f"no budget; give {', '.join(list(limits)[:-1])} or {list(limits)[-1]}")

    @property
    def host_images(self) -> int | None:
        """The images that the host may be asked for by `queries` and `cost`; None where neither limits them."""
        bought = None if self.cost is None or self.price is None else images_for(self.cost, self.price)
        return min((limit for limit in (self.queries, bought) if limit is not None), default=None)

    def steps(self, batch_size: int, num_train: int) -> int | None:
        """The number of steps that epochs and images allow; None where only the time is limited.

        Args:
            batch_size: images of a step; the last one of a pass may have fewer.
            num_train: training images, of which a pass has each once.

        Raises:
            BudgetError: a limit is half a step or less.
        """
        limits, steps_per_epoch = {}, -(-num_train // batch_size)
        if self.epochs is not None:
            limits[f"epochs={self.epochs}"] = round(self.epochs * steps_per_epoch)
        if self.images is not None:
            passes, rest = divmod(self.images, num_train)
            limits[f"images={self.images}"] = round(passes * steps_per_epoch + rest / batch_size)
        for given, steps in limits.items():
            if steps == 0:
                raise BudgetError(f"{given} is half a step or less; give more")
        return min(limits.values(), default=None)


def images_of(steps: int, batch_size: int, num_train: int) -> int:
    """The training images that steps see, repeats counted: the last step of a pass may have fewer than the others.

    Args:
        steps: the number of steps.
        batch_size: images of a step.
        num_train: training images.
    """
    passes, position = divmod(steps, -(-num_train // batch_size))
    return passes * num_train + position * batch_size
