"""The budget of queries: what a run may still ask its host for, known before it asks."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reprogram.errors import BudgetError, ConfigError
from reprogram.evaluation.predict import BATCH_SIZE
from reprogram.hosts.base import Host
from reprogram.labelmaps._calibration import BATCH
from reprogram.learners.base import Learner
from reprogram.model import Reprogrammed
from reprogram.report.bill import bill_so_far
from reprogram.training.microbatch import usual_number
from reprogram.training.options import FitOptions
from reprogram.training.validation import Validator, num_validation_images

if TYPE_CHECKING:
    from reprogram.training.state import TrainState

RESERVE, MOST_RESERVE = 50, 10
"""One part in so many of a budget is kept for what may be lost, so that a run with a few losses learns the same: a
fiftieth, or what may be under way when a process is killed, where that is more, but never more than a tenth."""

CAUTION = 2.0
"""How many times the losses until now are expected of what is ahead."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What the parts of a run ask for, in images or in requests.

    Attributes:
        first: to fit the label map before the first step.
        step: for a step, of all points that it compares.
        validation: for a validation.
        under_way: at the most at once.
    """

    first: int
    step: int
    validation: int
    under_way: int

    @property
    def least(self) -> int:
        """What the shortest run asks for."""
        return self.first + self.step + self.validation


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """A limit of images or of requests, and what is left of it.

    What is spent is what the run asked for in its own order, which a continued run repeats. What was lost or sent again
    comes on top. A reserve is kept for it: as long as that suffices, steps and validations don't depend on it.

    Attributes:
        limit: the most; None for no limit.
        needs: of the run's parts.
        reserve: of the limit.
    """

    limit: int | None
    needs: Needs
    reserve: int = 0

    def fraction(self, spent: int, lost: int, free: float) -> float:
        """The part that is spent; 1 where another step would leave nothing for the last validation.

        Answers that are here already are free, but a run that asks for nothing else has to end too: of them it looks at
        as many as it may ask for.

        Args:
            spent: what the run asked for.
            lost: what came on top.
            free: what it looked at again.
        """
        if self.limit is None:
            return 0.0
        ahead = self.needs.step + self.needs.validation
        if spent + self._extra(spent, lost, ahead) + ahead > self.limit:
            return 1.0
        return min(max(spent, free) / (self.limit - self.needs.validation - self.reserve), 1.0)

    def allows_validation(self, spent: int, lost: int) -> bool:
        """Whether a validation now would leave enough for a step and the last one.

        Args:
            spent: what the run asked for.
            lost: what came on top.
        """
        ahead = self.needs.step + 2 * self.needs.validation
        return self.limit is None or spent + self._extra(spent, lost, ahead) + ahead <= self.limit

    def _extra(self, spent: int, lost: int, ahead: int) -> float:
        """What was lost, and what will be at `CAUTION` times the rate until now; the reserve at the least."""
        return max(lost + CAUTION * lost / max(spent, ahead) * ahead, self.reserve)


class QueryBudget:
    """Counts what is left of the budgets of images, requests and money.

    The meter itself refuses what is beyond the limits; this class sees it coming, so that a run ends with the
    validation of its last program and not with an error.

    Args:
        host: its meter is given the limits.
        images: of the images that the host may be asked for while the run learns.
        requests: of the requests that it may be sent.
    """

    def __init__(self, host: Host, images: Allowance, requests: Allowance) -> None:
        self.host, self.images, self.requests = host, images, requests
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
        fitted = 0 if model.label_map.refit_schedule == "never" else min(model.label_map.fit_images, num_train)
        batch, looked_at = (
            min(options.batch_size, num_train),
            num_validation_images(options, learned=0, available=len(validator.split)),
        )
        device = model.canvas.frame.device
        parts = options.num_microbatches or usual_number(batch, validator.group.size, device)
        calls = [batch * (i + 1) // parts - batch * i // parts for i in range(parts)]
        per_call = BATCH_SIZE.get(device.type, BATCH_SIZE["cpu"])
        largest = max(min(fitted, BATCH), min(looked_at, per_call), *calls)
        at_once = host.concurrent_requests * (host.images_per_request or largest)
        checked = host.sentinels
        images = Needs(
            first=fitted + checked,
            step=learner.num_losses * batch,
            validation=looked_at + checked,
            under_way=min(largest, at_once),
        )
        requests = Needs(
            first=_num_requests([*_calls(fitted, BATCH), checked], host),
            step=learner.num_losses * _num_requests(calls, host),
            validation=_num_requests([*_calls(looked_at, per_call), checked], host),
            under_way=host.concurrent_requests,
        )
        if limit is not None and limit < images.least:
            given = f"queries={options.queries:,}" if options.queries == limit else f"cost={options.cost:g}"
            bought = "" if options.queries == limit else f" buys {limit:,} images and"
            raise BudgetError(_too_little(f"{given}{bought} is less than", images, "images"))
        if options.requests is not None and options.requests < requests.least:
            raise BudgetError(_too_little(f"requests={options.requests:,} is less than", requests, "requests"))
        return cls(host, _allowance(limit, images, host), _allowance(options.requests, requests, host))

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
        by_requests = self.free * self.requests.needs.step / self.images.needs.step
        return max(
            self.images.fraction(self.spent, lost, self.free),
            self.requests.fraction(self.spent_requests, unanswered, by_requests),
        )

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


def _allowance(limit: int | None, needs: Needs, host: Host) -> Allowance:
    """An allowance; nothing is lost of a host that gives gradients, which computes here."""
    if limit is None or host.info.access == "gradient":
        return Allowance(limit=limit, needs=needs)
    reserve = max(limit // RESERVE, min(needs.under_way, limit // MOST_RESERVE))
    return Allowance(limit=limit, needs=needs, reserve=min(reserve, limit - needs.least))


def _calls(images: int, size: int) -> list[int]:
    """The images of each call, of so many in calls of a size."""
    return [min(size, images - start) for start in range(0, images, size)]


def _num_requests(calls: Iterable[int], host: Host) -> int:
    return sum(-(-images // (host.images_per_request or max(images, 1))) for images in calls)


def _too_little(given: str, needs: Needs, unit: str) -> str:
    return (
        f"{given} the {needs.least:,} {unit} that the shortest run asks for: {needs.first:,} to fit the label map, "
        f"{needs.step:,} for a step and {needs.validation:,} for a validation; give more"
    )
