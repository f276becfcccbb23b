"""What a run asks its host for, part by part, and the limits that are set to it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from reprogram.evaluation.predict import BATCH_SIZE
from reprogram.hosts.base import Host
from reprogram.labelmaps._calibration import BATCH, num_fit_images
from reprogram.learners.base import Learner
from reprogram.model import Reprogrammed
from reprogram.training.losses import loss_named, settled
from reprogram.training.microbatch import microbatches, usual_number
from reprogram.training.options import FitOptions

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
        meeting: for the last program's meeting with the best one on fresh images, in the end.
        fitted: the task images that the label map is fitted to before the first step.
    """

    first: int
    step: int
    validation: int
    under_way: int
    meeting: int = 0
    fitted: int = 0

    @property
    def end(self) -> int:
        """What follows the last step."""
        return self.validation + self.meeting

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
        ahead = self.needs.step + self.needs.end
        if spent + self._extra(spent, lost, ahead) + ahead > self.limit:
            return 1.0
        return min(max(spent, free) / (self.limit - self.needs.end - self.reserve), 1.0)

    def is_cut_short(self, spent: int, lost: int) -> bool:
        """Whether another step would leave too little only for what was lost.

        Args:
            spent: what the run asked for.
            lost: what came on top.
        """
        ahead = self.needs.step + self.needs.end
        if self.limit is None or spent + self.reserve + ahead > self.limit:
            return False
        return spent + self._extra(spent, lost, ahead) + ahead > self.limit

    def allows_validation(self, spent: int, lost: int) -> bool:
        """Whether a validation now would leave enough for a step and the last one.

        Args:
            spent: what the run asked for.
            lost: what came on top.
        """
        ahead = self.needs.step + self.needs.validation + self.needs.end
        return self.limit is None or spent + self._extra(spent, lost, ahead) + ahead <= self.limit

    def _extra(self, spent: int, lost: int, ahead: int) -> float:
        """What was lost, and what will be at `CAUTION` times the rate until now; the reserve at the least."""
        return max(lost + CAUTION * lost / max(spent, ahead) * ahead, self.reserve)

    @classmethod
    def of(cls, limit: int | None, needs: Needs, host: Host) -> "Allowance":
        """A limit with its reserve; nothing is lost of a host that gives gradients, which computes here.

        Args:
            limit: the most; None for no limit.
            needs: of the run's parts.
            host: that is asked.
        """
        if limit is None or host.info.access == "gradient":
            return cls(limit=limit, needs=needs)
        reserve = max(limit // RESERVE, min(needs.under_way, limit // MOST_RESERVE))
        return cls(limit=limit, needs=needs, reserve=min(reserve, limit - needs.least - needs.meeting))


def needs_of_run(
    model: Reprogrammed, learner: Learner, options: FitOptions, *, num_train: int, num_validation: int
) -> tuple[Needs, Needs]:
    """What the parts of a run ask for, but for the meeting in its end, in images and in requests.

    Args:
        model: the model that is learned.
        learner: improves it; it has been started. Where it takes no step, all that is left goes to the label map.
        options: the run's options.
        num_train: images of the training split, to some of which the label map may be fitted.
        num_validation: images that a validation looks at.
    """
    host, limit = model.host, options.budget.host_images
    batch = min(options.settled_batch_size(len(model.task.classes)), num_train)
    checked, views, times = host.sentinels, model.program.num_views, host.asks_per_image
    left = None
    if limit is not None and not learner.takes_steps:
        left = ((limit - limit // RESERVE) // times - 2 * checked) // views - num_validation
    fitted = num_fit_images(model.label_map, num_train, queries=left if left is None else max(left, 1))
    parts = options.num_microbatches or usual_number(batch, 1, model.canvas.frame.device)
    calls = _sizes(microbatches(batch, parts))
    asked = calls if loss_named(settled(options.loss, model.label_map)).whole_batch else _of_rounds(learner, calls)
    largest = max(min(fitted, BATCH), min(num_validation, _batch_size(model)), *calls)
    images = Needs(
        fitted=fitted,
        first=times * (views * fitted + checked),
        step=times * views * learner.num_losses * batch,
        validation=times * (views * num_validation + checked),
        under_way=min(largest, host.concurrent_requests * (host.images_per_request or largest)),
    )
    sentinels = times * _num_requests([checked], host)
    requests = Needs(
        first=times * views * _num_requests(_calls(fitted, BATCH), host) + sentinels,
        step=times * views * learner.num_losses * _num_requests(asked, host),
        validation=times * views * _num_requests(_calls(num_validation, _batch_size(model)), host) + sentinels,
        under_way=host.concurrent_requests,
    )
    return images, requests


def with_meeting(
    images: Needs, requests: Needs, model: Reprogrammed, options: FitOptions, *, fresh: int
) -> tuple[Needs, Needs, int]:
    """The needs with a meeting of two programs on fresh images in the end, where the limits allow it.

    Args:
        images: what the run asks for otherwise, in images.
        requests: the same in requests.
        model: the model that is learned.
        options: the run's options.
        fresh: images on which each of the two programs would be tried.

    Returns:
        The needs, and the fresh images: 0 where the limits don't allow a meeting.
    """
    times, calls = 2 * model.host.asks_per_image * model.program.num_views, _calls(fresh, _batch_size(model))
    met, sent = times * fresh, times * _num_requests(calls, model.host)
    limits = ((options.budget.host_images, images.least + met), (options.requests, requests.least + sent))
    if any(limit is not None and least > limit for limit, least in limits):
        return images, requests, 0
    return replace(images, meeting=met), replace(requests, meeting=sent), fresh


def _batch_size(model: Reprogrammed) -> int:
    return BATCH_SIZE.get(model.canvas.frame.device.type, BATCH_SIZE["cpu"])


def _of_rounds(learner: Learner, calls: list[int]) -> list[int]:
    """The images of each call for a point of a step: a batch in these calls, or in several rounds of no larger ones."""
    rounds = _sizes(learner.rounds(sum(calls)))
    if len(rounds) == 1:
        return calls
    return [size for n in rounds for size in _sizes(microbatches(n, -(-n // max(calls))))]


def _sizes(parts: Iterable[slice]) -> list[int]:
    return [part.stop - part.start for part in parts]


def _calls(images: int, size: int) -> list[int]:
    """The images of each call, of so many in calls of a size."""
    return [min(size, images - start) for start in range(0, images, size)]


def _num_requests(calls: Iterable[int], host: Host) -> int:
    return sum(-(-images // (host.images_per_request or max(images, 1))) for images in calls)
