"""All of the host's scores by a discriminant, no program."""

from typing import Any

from reprogram.evaluation.baselines._asked import asks, bare, num_asked
from reprogram.evaluation.baselines.base import Asks, Baseline, BaselineInput
from reprogram.evaluation.baselines.map_alone import map_alone_scores
from reprogram.evaluation.metrics import score


class AllScores(Baseline):
    """Fisher's discriminant of all the host's scores of the task image over half of the input, without any program.

    This is what comes of a host that shows all of its scores to somebody who changes nothing in its input but the image
    itself, and needs no gradients either. It asks about as many training images as the run may ask for.
    """

    attacks = True

    def asks(self, run: BaselineInput) -> Asks:
        """The training images that fit the discriminant, and the test images."""
        return asks(run)

    def measure(self, run: BaselineInput) -> dict[str, Any]:
        """Measure it; see `Baseline.measure`."""
        images = num_asked(run)
        scores = map_alone_scores(bare(run), run.task, queries=images)
        run.predictions["all_scores"] = scores.argmax(dim=1)
        return {**score(scores, run.task.test.labels).to_json(), "train_images": images}
