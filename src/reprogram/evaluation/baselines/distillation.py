"""A small net that learns the host's answers once and then the task; extraction, not reprogramming (AReS)."""

from typing import Any

from torch import nn

from reprogram.evaluation import from_scratch
from reprogram.evaluation.baselines._asked import ask, asks, num_asked
from reprogram.evaluation.baselines.base import Asks, Baseline, BaselineInput
from reprogram.evaluation.baselines.direct_training import num_direct_images
from reprogram.evaluation.metrics import score
from reprogram.evaluation.predict import predict
from reprogram.utils.seeding import seeded

PASSES = 10
"""The passes over the images that the net learns the host's answers from."""


class Distillation(Baseline):
    """A small convolutional net learns the host's answers to the training images, and then the task.

    Each training image is asked about once, as far as the run may ask; the host does no work for a test image. So this
    isn't reprogramming: what the host knows is extracted into a net of one's own. Beside `direct-training`, the same
    net without these answers, it says what they are worth.
    """

    attacks = True

    def asks(self, run: BaselineInput) -> Asks:
        """The training images that the net learns the answers to; no test image."""
        images = num_asked(run)
        seen = PASSES * images + num_direct_images(run.task, run.images_seen)
        return Asks(
            images=images,
            ask=asks(run).ask,
            apart=lambda: from_scratch.expected_seconds(run.task, "convolutional", seen),
        )

    def measure(self, run: BaselineInput) -> dict[str, Any]:
        """Measure it; see `Baseline.measure`."""
        asked = ask(run, test=False)
        net = from_scratch.imitate(
            asked.images.cpu(), asked.train.softmax(dim=1), PASSES * len(asked.labels), seed=run.seed
        )
        head = net.body[-1]
        assert isinstance(head, nn.Linear)
        with seeded(run.seed):
            net.body[-1] = nn.Linear(head.in_features, run.task.num_classes)
        images = num_direct_images(run.task, run.images_seen)
        from_scratch.learn(net, run.task, images, seed=run.seed, augmentation=run.augmentation)
        scores = predict(net, run.task.test)
        run.predictions["distillation"] = scores.argmax(dim=1)
        return {
            **score(scores, run.task.test.labels).to_json(),
            "train_images": len(asked.labels),
            "images_seen": images,
        }
