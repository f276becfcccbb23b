"""The budget of queries: what a run may still ask its host for, known before it asks."""

import contextlib
from collections.abc import Iterator

from reprogram.errors import BudgetError, ConfigError
from reprogram.hosts.base import Meter
from reprogram.learners.base import Learner
from reprogram.model import Reprogrammed
from reprogram.training.options import FitOptions
from reprogram.training.rescoring import num_fresh_images
from reprogram.training.validation import Validator, num_validation_images


class QueryBudget:
    """Counts what is left of a budget of queries.

    The meter itself refuses what is beyond the limit; this class sees it coming, so that a run ends with the
    validation of its last program and not with an error.

    Args:
        meter: the host's; it is given the limit.
        limit: images that the host may be asked for while the run learns; None for no limit.
        first: images that the label map is fitted to before the first step.
        step: images of a step, of all points that it compares.
        validation: images of a validation.
        fresh: images on which the last program meets the best one in the end, each of the two; 0 for none.

    Raises:
        BudgetError: the limit doesn't even allow one step and its validation.
    """

    def __init__(
        self, meter: Meter, limit: int | None, *, first: int, step: int, validation: int, fresh: int = 0
    ) -> None:
        self.meter, self.limit, self.step, self.validation = meter, limit, step, validation
        self.start = meter.images
        least = first + step + validation
        self.fresh = fresh if limit is not None and least + 2 * fresh <= limit else 0
        self.end = validation + 2 * self.fresh
        if limit is not None and limit < least:
            raise BudgetError(
                f"queries={limit:,} is less than the {least:,} images that the shortest run asks for: {first:,} to fit "
                f"the label map, {step:,} for a step and {validation:,} for a validation; give more"
            )

    @classmethod
    def of_run(
        cls, model: Reprogrammed, learner: Learner, validator: Validator, options: FitOptions, num_train: int
    ) -> "QueryBudget":
        """The budget of a run.

        Args:
            model: the model that is learned.
            learner: improves it; it has been started.
            validator: asks the validation images.
            options: the run's options.
            num_train: images of the training split, to some of which the label map may be fitted.

        Raises:
            ConfigError: several processes learn together, each of which counts its own images alone.
            BudgetError: the limit doesn't even allow one step and its validation.
        """
        if options.queries is not None and validator.group.size > 1:
            raise ConfigError("queries can't be limited where several processes learn together; use one process")
        fitted = 0 if model.label_map.refit_schedule == "never" else min(model.label_map.fit_images, num_train)
        step = learner.num_losses * min(options.batch_size, num_train)
        validation = num_validation_images(options, learned=0, available=len(validator.split))
        fresh = num_fresh_images(validation, len(validator.split)) if options.queries is not None else 0
        return cls(model.host.meter, options.queries, first=fitted, step=step, validation=validation, fresh=fresh)

    @contextlib.contextmanager
    def limiting(self, spent: int) -> Iterator[None]:
        """In the block, the meter refuses more than the limit.

        Args:
            spent: images that the run had asked for when its state was saved.
        """
        self.start = self.meter.images - spent
        self.meter.limit = None if self.limit is None else self.start + self.limit
        try:
            yield
        finally:
            self.meter.limit = None

    @property
    def spent(self) -> int:
        """Images that the run has asked for."""
        return self.meter.images - self.start

    @property
    def fraction(self) -> float:
        """The part of the budget that is spent; 1 where another step would leave nothing for the last validation."""
        if self.limit is None:
            return 0.0
        available = self.limit - self.end
        return 1.0 if self.spent + self.step > available else self.spent / available

    def allows_validation(self) -> bool:
        """Whether a validation now would leave enough for a step and the last one."""
        return self.limit is None or self.limit - self.spent >= self.step + self.validation + self.end
