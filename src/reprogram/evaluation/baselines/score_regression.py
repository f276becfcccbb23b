"""Logistic regression on the host's scores, no program."""

import warnings
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from reprogram.evaluation.baselines._asked import ask, asks
from reprogram.evaluation.baselines.base import Asks, Baseline, BaselineInput
from reprogram.evaluation.metrics import score

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""The inverse strengths C of the penalty that are tried."""

HELD_OUT = 5
"""One in so many of the training images chooses the strength."""


class ScoreRegression(Baseline):
    """Multinomial logistic regression on all the host's scores, each standardised, of images without a program.

    The strength of its penalty is the best on a fifth of the training images that were asked about, and then all of
    them are learned from. It asks about as many training images as the run may ask for.
    """

    attacks = True

    def asks(self, run: BaselineInput) -> Asks:
        """The training images that the regression learns from, and the test images."""
        return asks(run)

    def measure(self, run: BaselineInput) -> dict[str, Any]:
        """Measure it; see `Baseline.measure`."""
        asked = ask(run)
        scores, strength = regression(asked.train, asked.labels, asked.test, run.task.num_classes)
        run.predictions["score_regression"] = scores.argmax(dim=1)
        return {
            **score(scores, run.task.test.labels).to_json(),
            "train_images": len(asked.labels),
            "strength": strength,
        }


def regression(
    train: Float[Tensor, "n K"], labels: Int[Tensor, " n"], test: Float[Tensor, "m K"], num_classes: int
) -> tuple[Float[Tensor, "m k"], float]:
    """The classes' logarithms of probabilities by a regression, and the inverse strength of its penalty.

    Args:
        train: n × K scores.
        labels: n classes.
        test: m × K scores.
        num_classes: k; a class without training images gets a small probability.
    """
    x, y = train.double().numpy(), labels.numpy()
    held_out = np.arange(len(y)) % HELD_OUT == 0
    strength = STRENGTHS[len(STRENGTHS) // 2]
    if len({*y[held_out]}) > 1 and len({*y[~held_out]}) > 1:
        right = [np.mean(_fit(x[~held_out], y[~held_out], c).predict(x[held_out]) == y[held_out]) for c in STRENGTHS]
        strength = STRENGTHS[int(np.argmax(right))]
    scores = torch.full((len(test), num_classes), -1e3, dtype=torch.float64)
    if len({*y}) == 1:
        scores[:, y[0]] = 0.0
        return scores, strength
    fitted = _fit(x, y, strength)
    scores[:, torch.from_numpy(fitted.classes_)] = torch.from_numpy(fitted.predict_log_proba(test.double().numpy()))
    return scores.clamp(min=-1e3), strength


def _fit(x: "np.ndarray[Any, Any]", y: "np.ndarray[Any, Any]", strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The accuracy counts, whether the fit has converged or not.
        return pipeline.fit(x, y)
