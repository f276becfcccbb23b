"""All of the host's scores by a discriminant, no program."""

from typing import Any

from reprogram.evaluation.baselines.base import Asks, Baseline, BaselineInput
from reprogram.evaluation.baselines.map_alone import map_alone_scores
from reprogram.evaluation.metrics import score
from reprogram.labelmaps._calibration import num_fit_images
from reprogram.model import Reprogrammed

TRAIN_IMAGES = 2_000
"""The most training images that the discriminant is fitted to: each costs a host call."""


class AllScores(Baseline):
    """Fisher's discriminant of all the host's scores of the task image over half of the input, without any program.

    This is what comes of a host that shows all of its scores to somebody who changes nothing in its input but the image
    itself, and needs no gradients either.
    """

    def asks(self, run: BaselineInput) -> Asks:
        """The training images that fit the discriminant, and the test images."""
        model, train = _model(run), len(run.task.train)
        images = num_fit_images(model.label_map, train, min(TRAIN_IMAGES, train)) + len(run.task.test)
        return Asks(images=images, ask=lambda batch: model.host(model.canvas(batch)))

    def measure(self, run: BaselineInput) -> dict[str, Any]:
        """Measure it; see `Baseline.measure`."""
        model = _model(run)
        images = min(TRAIN_IMAGES, len(run.task.train))
        scores = map_alone_scores(model, run.task, images)
        run.predictions["all_scores"] = scores.argmax(dim=1)
        return {**score(scores, run.task.test.labels).to_json(), "train_images": images}


def _model(run: BaselineInput) -> Reprogrammed:
    return Reprogrammed.build(
        run.model.host, run.task, canvas="scaled", program="none", label_map="discriminant", seed=run.seed
    )
