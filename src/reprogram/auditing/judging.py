"""What the answers of the passes of a probe say, and the gradients of the host's loss."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reprogram.auditing.report import Probe
from reprogram.hosts.base import Host

MOST_DECIMALS = 4
"""The most decimals that numbers are looked for to be rounded to."""


CERTAIN = 1e-4
"""A highest number that is so near to 1 tells nothing of decimals: that of a host that is sure looks rounded."""

NOTHING = 1e-9
"""A tenth of the ε that Adam adds to a gradient's size: a smaller gradient hardly moves anything."""


def gradients(host: Host, images: Tensor, labels: Tensor) -> dict[str, float]:
    """What the gradients of the loss by the input say of a host.

    Args:
        host: a host that gives gradients.
        images: b × C × H × W pixels.
        labels: b host labels.

    Returns:
        zero: the part of the gradients' numbers that are 0, or nearer to it than `NOTHING`. size: the sum of the
        absolute numbers of the average gradient, ‖1/b Σ g‖₁, by which a step of ε in each number lowers the loss to
        first order, as a multiple of ε. alignment: ‖Σ g‖₂ / Σ ‖g‖₂, 1 where all images' gradients point the same way.
        Empty where no gradient can be computed.

    Reference: Zheng et al., Why Adversarial Reprogramming Works, When It Fails, and How to Tell the Difference,
    Information Sciences 632, 2023 (arXiv 2108.11673), section 3.
    """
    rows = []
    try:
        with torch.enable_grad():
            for image, label in zip(torch.split(images, 4), torch.split(labels, 4), strict=True):
                pixels = image.clone().requires_grad_()
                loss = F.cross_entropy(host(pixels), label, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, pixels)
                rows.append(gradient.double().flatten(1).cpu())
    except RuntimeError:  # Such as an operation without a gradient.
        return {}
    all_rows = torch.cat(rows)
    lengths = all_rows.norm(dim=1)
    mean = all_rows.mean(dim=0)
    return {
        "zero": float((all_rows.abs() < NOTHING).double().mean()),
        "size": float(mean.abs().sum()),
        # ‖Σ g‖ / Σ ‖g‖
        "alignment": float(mean.norm() / lengths.mean()) if float(lengths.sum()) > 0 else 0.0,
    }


def judge(first: Tensor, second: Tensor, last: Tensor | None, host: Host, of_gradients: dict[str, float]) -> Probe:
    """What the passes found.

    Args:
        first: b × K scores.
        second: those of the same images, asked again at once.
        last: those at the end; None where nobody asked.
        host: that answered.
        of_gradients: what `gradients` returned, or nothing.
    """
    tops = [scores.argmax(dim=1) for scores in (first, second, *([] if last is None else [last]))]
    shares = [scores.softmax(dim=1) for scores in (first, second, *([] if last is None else [last]))]
    passes = 2 + (last is not None)
    return Probe(
        images=len(first),
        passes=passes,
        asked=len(first) * (passes + bool(of_gradients)),
        disagreement=float((tops[0] != tops[1]).double().mean()),
        largest_difference=float((shares[0] - shares[1]).abs().max()),
        drift=None if last is None else float((tops[0] != tops[2]).double().mean()),
        decimals=decimals(first) if host.info.access != "label" else None,
        looks_normalised=bool(((first >= 0).all(dim=1) & ((first.sum(dim=1) - 1).abs() < 1e-3)).all()),
        labels_used=len(torch.unique(tops[0])),
        constant=bool((first - first[:1]).abs().amax() <= 1e-6 * first.abs().amax().clamp(min=1e-30)),
        zero_gradient=of_gradients.get("zero"),
        gradient_size=of_gradients.get("size"),
        gradient_alignment=of_gradients.get("alignment"),
        drift_difference=None if last is None else float((shares[0] - shares[2]).abs().max()),
    )


def decimals(scores: Tensor) -> int | None:
    """The decimals that the highest number of each image is rounded to; None for more than `MOST_DECIMALS`.

    Scores that are logarithms of probabilities are read as probabilities.

    Args:
        scores: b × K.
    """
    highest = scores.amax(dim=1).numpy()
    as_logarithms = bool((scores <= 0).all()) and bool(((scores.exp().sum(dim=1) - 1).abs() < 0.05).all())
    numbers = np.exp(highest) if as_logarithms else highest
    numbers = numbers[np.abs(numbers - 1) > CERTAIN]
    if len(np.unique(numbers.round(8))) < 2:
        return None
    for places in range(MOST_DECIMALS + 1):
        scaled = numbers * 10**places
        if np.all(np.abs(scaled - scaled.round()) < 1e-4):
            return places
    return None
