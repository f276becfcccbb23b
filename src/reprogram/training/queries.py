"""The budget of queries: what a run may still ask its host for, known before it asks."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from reprogram.errors import BudgetError, ConfigError
from reprogram.hosts.base import Host
from reprogram.learners.base import Learner
from reprogram.model import Reprogrammed
from reprogram.report.bill import bill_so_far
from reprogram.training.allowance import Allowance, Needs, needs_of_run, with_meeting
from reprogram.training.options import FitOptions
from reprogram.training.rescoring import num_fresh_images
from reprogram.training.validation import Validator, num_validation_images

if TYPE_CHECKING:
    from reprogram.training.state import TrainState


class QueryBudget:
    """Counts what is left of the budgets of images, requests and money.

    The meter itself refuses what is beyond the limits; this class sees it coming, so that a run ends with the
    validation of its last program and not with an error.

    Args:
        host: its meter is given the limits.
        images: of the images that the host may be asked for while the run learns.
        requests: of the requests that it may be sent.
        fresh: images on which the last program meets the best one in the end, each of the two; 0 for none.
    """

    def __init__(self, host: Host, images: Allowance, requests: Allowance, fresh: int) -> None:
        self.host, self.images, self.requests, self.fresh = host, images, requests, fresh
        self._start_at(0, 0, 0)

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
            BudgetError: a limit doesn't even allow one step and its validation.
        """
        host, limit = model.host, options.budget.host_images
        if (limit is not None or options.requests is not None) and validator.group.size > 1:
            raise ConfigError("queries can't be limited where several processes learn together; use one process")
        views = model.program.num_views
        looked_at = num_validation_images(options, learned=0, available=len(validator.split), views=views)
        images, requests = needs_of_run(model, learner, options, num_train=num_train, num_validation=looked_at)
        if limit is not None and limit < images.least:
            given = f"queries={options.queries:,}" if options.queries == limit else f"cost={options.cost:g}"
            bought = "" if options.queries == limit else f" buys {limit:,} images and"
            raise BudgetError(_too_little(f"{given}{bought} is less than", images, "images"))
        if options.requests is not None and options.requests < requests.least:
            raise BudgetError(_too_little(f"requests={options.requests:,} is less than", requests, "requests"))
        limited = learner.takes_steps and (limit is not None or options.requests is not None)
        fresh = num_fresh_images(looked_at, len(validator.split)) if limited else 0
        images, requests, fresh = with_meeting(images, requests, model, options, fresh=fresh)
        allowances = Allowance.of(limit, images, host), Allowance.of(options.requests, requests, host)
        return cls(host, *allowances, fresh)

    @contextlib.contextmanager
    def limiting(self, state: "TrainState") -> Iterator[None]:
        """In the block, the meter refuses more than the limits.

        Args:
            state: says what the run had asked for when it was saved.
        """
        self._start_at(state.queries, state.requests, state.free)
        meter, before = self.host.meter, self._before
        if self.images.limit is not None:
            meter.limit = before["images"] + before["lost"] + self.images.limit
        if self.requests.limit is not None:
            meter.request_limit = before["requests"] + self.requests.limit
        try:
            self.host.check_unchanged("start")
            yield
        finally:
            meter.limit = meter.request_limit = None

    def note_in(self, state: "TrainState") -> None:
        """Let a state say what the run has asked for.

        Args:
            state: that is saved.
        """
        state.queries, state.requests, state.free = self.spent, self.spent_requests, self.free

    def _start_at(self, queries: int, requests: int, free: int) -> None:
        """Take it that the run has asked for so many images by so many requests, and looked at so many again."""
        meter, store = self.host.meter, self.host.answers
        self._start = self.host.asked - queries, self._asked_requests - requests, self._free - free
        self._before = {
            "images": meter.images - queries,
            "lost": meter.lost,
            "requests": meter.requests - requests,
            "calls": meter.calls - requests,
        }
        if store is not None:
            self._before = store.before

    @property
    def _asked_requests(self) -> int:
        return self.host.meter.requests if self.host.answers is None else self.host.answers.used_requests

    @property
    def _free(self) -> int:
        return 0 if self.host.answers is None else self.host.answers.free

    @property
    def num_fit_images(self) -> int:
        """The task images that the label map is fitted to before the first step."""
        return self.images.needs.fitted

    @property
    def free(self) -> int:
        """Images that the run looked at again, which the host had answered already."""
        return self._free - self._start[2]

    @property
    def spent(self) -> int:
        """Images that the run has asked for."""
        return self.host.asked - self._start[0]

    @property
    def spent_requests(self) -> int:
        """Requests that these images came with."""
        return self._asked_requests - self._start[1]

    @property
    def _lost(self) -> tuple[int, int]:
        """Images that were lost, and requests that weren't answered."""
        meter, before = self.host.meter, self._before
        unanswered = (meter.requests - before["requests"]) - (meter.calls - before["calls"])
        return meter.lost - before["lost"], unanswered

    @property
    def fraction(self) -> float:
        """The part of the budget that is spent; 1 where another step would leave nothing for the last validation."""
        lost, unanswered = self._lost
        by_requests = self.free * self.requests.needs.step / max(self.images.needs.step, 1)
        return max(
            self.images.fraction(self.spent, lost, self.free),
            self.requests.fraction(self.spent_requests, unanswered, by_requests),
        )

    def cut_short(self, step: int, last_step: int | None) -> str:
        """How much was lost, where that ends the run before its budget is spent; empty where it doesn't.

        Args:
            step: the number of steps that were made.
            last_step: after how many the run ends anyway; None where only queries end it.
        """
        lost, unanswered = self._lost
        by_losses = self.images.is_cut_short(self.spent, lost) or self.requests.is_cut_short(
            self.spent_requests, unanswered
        )
        if not by_losses or step == last_step:
            return ""
        return f"step {step}: {lost:,} images were lost, in {unanswered:,} requests without an answer, and more may be"

    @property
    def bill(self) -> str:
        """What a host that only answers has answered, and what that costs, in words; empty for any other host."""
        return "" if self.host.info.access == "gradient" else bill_so_far(self.host.meter.bill())

    def allows_validation(self) -> bool:
        """Whether a validation now would leave enough for a step and the last one."""
        lost, unanswered = self._lost
        return self.images.allows_validation(self.spent, lost) and self.requests.allows_validation(
            self.spent_requests, unanswered
        )


def _too_little(given: str, needs: Needs, unit: str) -> str:
    return (
        f"{given} the {needs.least:,} {unit} that the shortest run asks for: {needs.first:,} to fit the label map, "
        f"{needs.step:,} for a step and {needs.validation:,} for a validation; give more"
    )
