"""The last meeting of two programs on fresh images: the best of many validations owes some of its lead to luck."""

from collections.abc import Callable

import torch
from torch import Tensor

from reprogram.evaluation.metrics import Evaluation, score
from reprogram.evaluation.predict import predict
from reprogram.tasks._split import stratified
from reprogram.training.validation import Validator

LEAST_IMAGES = 50
"""The fewest fresh images that are worth asking for: the standard error of their accuracy is 0.07."""


def num_fresh_images(validation: int, available: int) -> int:
    """How many images each of the two programs is shown; 0 where the split has too few that no validation looks at.

    Args:
        validation: images of a validation.
        available: images of the validation split.
    """
    fresh = min(validation, available - validation)
    return fresh if fresh >= LEAST_IMAGES else 0


def better_of(
    validator: Validator, best: dict[str, Tensor], count: int, stop: Callable[[], bool]
) -> tuple[dict[str, Tensor], Evaluation, bool] | None:
    """Compare the last program, which the model holds, with the best of the validations, on images new to both.

    The one that classifies more of them rightly is the better one, of equal ones that of less loss. The model stays as
    it is.

    Args:
        validator: knows the images that the validations looked at.
        best: the learned tensors of the best program, by name.
        count: fresh images, a stratified sample of the others in the validation split.
        stop: asked before each batch; once it is true, nothing more is computed.

    Returns:
        The better program's tensors, its evaluation, and whether it is the last one; None where `stop` became true.
    """
    model, split = validator.model, validator.split
    unknown = torch.ones(len(split), dtype=torch.bool, device=validator.indices.device)
    unknown[validator.indices] = False
    rest = split.take(unknown.nonzero()[:, 0])
    images = rest.take(stratified(rest.labels, count, validator.seed))
    current = model.learned_state()
    with validator.learner.eval_weights():
        last = model.learned_state()
    found: list[Evaluation] = []
    try:
        for state in (best, last):
            model.load_learned_state(state)
            scores = predict(model, images, stop=stop)
            if stop():
                return None
            found.append(score(scores, images.labels.cpu()))
    finally:
        model.load_learned_state(current)
    of_best, of_last = found
    is_last = (of_last.correct, -of_last.loss) > (of_best.correct, -of_best.loss)
    return (last, of_last, True) if is_last else (best, of_best, False)
