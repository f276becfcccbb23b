"""Turn any classifier into a module, and probe it with a blank image."""

from collections.abc import Callable

from torch import Tensor, nn

from reprogram.errors import ConfigError
from reprogram.hosts._frozen import Call, Outputs, check_outputs, scores_of


def module_of(classifier: Callable[[Tensor], Tensor]) -> nn.Module:
    """A classifier as a module; the bound method `module.forward` stands for its module.

    Args:
        classifier: b × C × H × W normalised pixels to b × K scores.

    Returns:
        The module itself where the classifier is one, else a module that calls it.
    """
    owner = getattr(classifier, "__self__", None)
    if isinstance(owner, nn.Module) and classifier == owner.forward:
        return owner
    return classifier if isinstance(classifier, nn.Module) else Call(classifier)


def probe(net: nn.Module, blank: Tensor, outputs: Outputs, name: str) -> Tensor:
    """The scores of a blank image.

    Args:
        net: the classifier.
        blank: 1 × C × H × W, normalised.
        outputs: the stated kind of the classifier's output.
        name: the host's, for errors.

    Returns:
        1 × K scores, or probabilities.

    Raises:
        ConfigError: the call fails, or its output isn't one row of scores, or of probabilities.

    Warns:
        UserWarning: the scores look like probabilities, and `outputs` doesn't say so.
    """
    try:
        scores = net(blank)
    except Exception as error:
        shape = "x".join(map(str, blank.shape[1:]))
        raise ConfigError(f"host {name}: a call with a blank {shape} image failed: {error}") from error
    scores = scores_of(scores, name)
    check_outputs(scores, outputs, name)
    return scores
