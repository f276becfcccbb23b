"""Checks against wrong numbers: the engine is compared with the host, and images without a finite loss are named."""

import math
from numbers import Real

import torch
from torch import Tensor

from reprogram.errors import DataError
from reprogram.hosts import _half, _parity
from reprogram.hosts.base import Host
from reprogram.learners.base import Learner
from reprogram.model import Reprogrammed
from reprogram.tasks._split import Split
from reprogram.training.losses import loss_named, loss_of
from reprogram.types import LossKind, Precision
from reprogram.utils.contracts import breach
from reprogram.utils.distributed import ProcessGroup
from reprogram.utils.seeding import seeded


def settle_precision(model: Reprogrammed, batch: Split, loss: LossKind) -> None:
    """Compute in float32 where "auto" stands for half precision, and the host doesn't compute in it, or too wrongly.

    The host's meter counts nothing of it.

    Args:
        model: the model; its host's precision may be changed.
        batch: a few training images.
        loss: the run's loss.

    Raises:
        ConfigError: another precision was asked for, and the host can't compute in it.
    """

    def trial() -> None:
        value = loss_of(model, batch.images, batch.labels, loss)
        if model.host.info.access == "gradient" and value.requires_grad:
            torch.autograd.grad(value, model.learned_parameters(), allow_unused=True)

    with seeded(None, batch.images.device):
        _half.settle_precision(model.host, trial, lambda: model.program(model.canvas(batch.images)))


def overflowing(host: Host) -> str:
    """A hint where numbers aren't finite: what is above 65,504 overflows in float16; empty in any other type.

    Args:
        host: the host.
    """
    return ", in float16, which overflows: try bfloat16 or float32" if host.dtype == torch.float16 else ""


def precision_of(host: Host) -> Precision:
    """The name of the type that a host computes in; "float32" for that of its weights, whichever it is.

    Args:
        host: the host.
    """
    names: dict[torch.dtype, Precision] = {torch.bfloat16: "bfloat16", torch.float16: "float16"}
    return "float32" if host.precision == "float32" else names.get(host.dtype, "float32")


def check_engine(model: Reprogrammed, images: Tensor, loss: LossKind) -> None:
    """Compare the engine's scores and gradients with those of the host's own module.

    Args:
        model: the model; without a host that runs shared, nothing is compared.
        images: b × c × h × w task images; two are enough.
        loss: the run's loss, which decides which host labels are compared.

    Raises:
        ExportParityError: scores or gradients differ by more than rounding.
    """
    host = model.host
    if host.engine == "dense" or host.info.access != "gradient" or not host.prepared.shares:
        return
    some_labels = not loss_named(loss).reads_host and not model.label_map.follows_steps
    labels = model.label_map.reads() if some_labels else None
    parameters = [p for p in model.program.parameters() if p.requires_grad]
    with seeded(None, images.device):
        with torch.no_grad():  # A canvas has no parameters.
            canvases = model.canvas(images)
        _parity.check(model.host, model.program(canvases), parameters, labels)


def non_finite_samples(losses: Tensor, indices: Tensor, group: ProcessGroup) -> list[int]:
    """The indices of the images whose own loss isn't finite, in all processes.

    Args:
        losses: the b losses of this process's images, in nats.
        indices: b, the indices of these images in the training split.
        group: the processes.

    Raises:
        ProcessLostError: another process is gone.
    """
    non_finite = indices[~torch.isfinite(losses)].tolist()
    return [index for shard in group.all_gather_object(non_finite) for index in shard]


def stopped(step: int, split: str, indices: list[int], why: str) -> DataError:
    """The error that ends a run at a step because of some images.

    Args:
        step: the number of the step that failed.
        split: the name of the split that the images belong to.
        indices: the images' indices in the split; the message names the first four.
        why: the rest of the message.
    """
    shown = f"{str(indices[:4])[:-1]}, ...]" if len(indices) > 4 else str(indices)
    return DataError(f"step {step}, {split} images {shown}{why}", details=tuple(map(str, indices)))


def finite(learner: Learner, loss: object) -> float:
    """A step's loss, which a learner of one's own may get wrong.

    Args:
        learner: the learner.
        loss: what its `step` has returned.

    Returns:
        The loss.

    Raises:
        ConfigError: it is no finite number.
    """
    if not isinstance(loss, Real) or not math.isfinite(loss):
        shown = str(loss) if isinstance(loss, Real) else f"a {type(loss).__name__}"
        raise breach(learner, f"returns {shown} from `step`; the batch's loss is expected, a finite float")
    return float(loss)
