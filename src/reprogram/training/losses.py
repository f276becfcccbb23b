"""The loss that a run minimises: which one it is, and its value for a model and a batch."""

import functools
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from reprogram.errors import ConfigError, ReprogramError
from reprogram.labelmaps.base import LabelMap
from reprogram.losses.base import Answered, Loss
from reprogram.model import Reprogrammed
from reprogram.registry import configure, format_spec
from reprogram.training.microbatch import usual_number
from reprogram.types import LossKind
from reprogram.utils.contracts import breach


@functools.lru_cache(maxsize=64)
def loss_named(spec: LossKind) -> Loss:
    """The loss that a spec stands for; a loss has no state, so that the same one may serve all.

    Args:
        spec: of a loss, such as "task"; not "auto".

    Raises:
        ConfigError: the name or an option is unknown, or a value has the wrong type or range.
    """
    variant, config = configure("losses", spec)
    return cast(Loss, variant(config))


def settled(kind: LossKind, label_map: LabelMap) -> LossKind:
    """The loss that a run minimises.

    Args:
        kind: the loss that was asked for.
        label_map: the run's label map.

    Returns:
        For "auto" the paper's, "host", where each task label has one host label that stays while the program is
        learned, else "task"; the spec of any other, without options that have their default.

    Raises:
        ConfigError: the loss's name or options are wrong.
    """
    if kind != "auto":
        return format_spec(loss_named(kind))
    learned = any(parameter.requires_grad for parameter in label_map.parameters())
    stays = label_map.refit_schedule in ("never", "once") and not learned
    return "host" if stays and label_map.single_labels() is not None else "task"


@functools.cache
def settled_by_spec(kind: LossKind, label_map: str) -> LossKind:
    """The loss that a run minimises, before there is a host: whether "auto" and another kind are the same run.

    Args:
        kind: the loss that was asked for.
        label_map: the spec of the run's label map.

    Returns:
        As `settled`; the kind as it is where the spec can't be built.
    """
    if kind != "auto":
        return kind
    try:
        variant, options = configure("label-maps", label_map)
        # Which labels a map reads depends on host and task, and how it reads them on its options alone.
        return settled(kind, cast(LabelMap, variant(options, num_host_labels=1000, num_task_labels=2)))
    except (ReprogramError, ValueError):
        return kind


def losses_of(
    model: Reprogrammed,
    images: Tensor,
    labels: Tensor,
    kind: LossKind,
    listen: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """The loss of each image.

    Args:
        model: the model that is learned.
        images: b × c × h × w, uint8 or floating point in [0, 1].
        labels: b class indices.
        kind: the spec of a loss, or "auto", which is one of them, see `settled`.
        listen: called with the b × K host scores that the loss is computed from.

    Returns:
        b losses.

    Raises:
        ConfigError: the loss doesn't give one number for each image.
    """
    label_map, loss = model.label_map, loss_named(settled(kind, model.label_map))
    host_labels = None if loss.reads_host or listen is not None else label_map.reads()
    # A loss of the whole batch is computed at once; the host, which has no part in that, in microbatches.
    parts = images.chunk(usual_number(len(images), 1, images.device)) if loss.whole_batch else (images,)
    scores = [model.host_scores(part, host_labels) for part in parts]
    host_scores = torch.cat(scores) if len(scores) > 1 else scores[0]
    if listen is not None:
        listen(host_scores.detach())
    answered = Answered(
        host=host_scores,
        task=label_map(host_scores),
        labels=labels,
        single_labels=label_map.single_labels(),
        counts=label_map.answer_counts(),
        features=features_of(model, images) if loss.reads_features else None,
    )
    losses = loss.losses(answered)
    if losses.shape != labels.shape:
        raise breach(
            loss, f"makes losses of shape {tuple(losses.shape)} for {len(labels)} images; one for each is expected"
        )
    return losses


def features_of(model: Reprogrammed, images: Tensor) -> Tensor:
    """The features of the host's last layer for reprogrammed images, with a gradient where the images' program has one.

    Args:
        model: the model that is learned.
        images: b × c × h × w, uint8 or floating point in [0, 1].

    Returns:
        b × d features.

    Raises:
        ConfigError: the host gives no gradient, or the program makes several views of an image.
    """
    if model.host.info.access != "gradient" or model.host.guard is not None:
        raise ConfigError(f"the loss reads features, which {model.host.info.id} doesn't give; learn on the host itself")
    if model.program.num_views != 1:
        raise ConfigError("the loss reads the features of one view of an image; the program makes several")
    return model.host.features(model.program(model.canvas(images)))[0]


def loss_of(
    model: Reprogrammed,
    images: Tensor,
    labels: Tensor,
    kind: LossKind,
    listen: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """The mean of `losses_of`, a scalar.

    Args:
        model: the model that is learned.
        images: b × c × h × w, uint8 or floating point in [0, 1].
        labels: b class indices.
        kind: which loss; see `losses_of`.
        listen: called with the b × K host scores that the loss is computed from.
    """
    return losses_of(model, images, labels, kind, listen).mean()
