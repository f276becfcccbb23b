"""The options of learning. This module doesn't import torch: a configuration is read before that."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from reprogram.errors import ConfigError
from reprogram.registry import MAX_SEED, added_later, format_spec, is_listed, names, renamed, stored_spelling
from reprogram.training.budget import EPOCHS, Budget
from reprogram.training.checkpoint import Interval
from reprogram.types import LossKind, Precision, SampleSize, Sampling
from reprogram.utils.changes import digest_of_files
from reprogram.utils.messages import nearest, shown
from reprogram.utils.spec import parse
from reprogram.utils.validation import given_by_script, plain

if TYPE_CHECKING:
    from reprogram.model import Reprogrammed

BATCH_SIZE = 16
"""The most images of a step where the batch size is "auto"."""
MAP_FILES = "contents of the label map's files"
"""What `resume_key` calls the files that the label map's spec names."""


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How a program is learned.

    Each field is a keyword of `reprogram.fit`, a flag of `reprogram fit` and a key of a configuration's table `[fit]`;
    signature, flags, checks and help are made from this class.

    Attributes:
        learner: what improves the program, e.g. "adam(learning_rate=0.1)".
        augmentation: how training images vary each time they are seen, e.g. "shift(pixels=2)".
        loss: what is minimised, e.g. the cross-entropy of the task scores ("task"), the same with softened labels
            ("smoothed"), or the paper's (equation 3), whose softmax runs over all the host's labels ("host"); for hosts
            that show labels alone "leave-one-out". "auto" is the paper's where the label map has one fixed host label
            for each class, else "task".
        epochs: budget in passes over the training images; 5 where no budget is given.
        images: budget in training images seen.
        seconds: budget in seconds of learning.
        queries: budget in images that the host is asked for until learning ends, validations included; it is never
            exceeded. The test comes on top.
        requests: budget in requests that the host is sent until learning ends, retries included; a call of a local
            host is one. It is never exceeded either.
        cost: budget in money that the host costs until learning ends, at the stated price, in the price's unit.
        price: of 1,000 images, as the host's service states it; the bill in the result names the cost then.
        batch_size: images a step, of all processes together: a number, or "auto", the largest multiple of the number of
            classes up to 16, and 16 where there are more classes. A stratified batch then holds classes of one size
            alike.
        sampling: the order of each pass over the training images: "stratified" spreads the images of each class evenly
            over it, at random otherwise, so that a batch holds the classes by their shares; "shuffled" is random alone.
        num_microbatches: number of microbatches that a batch is computed in, 1 to batch_size. With the same number,
            any number of processes comes to the same bits. By default microbatches of up to 16 images, at least two
            and as many as there are processes; on a GPU as many as there are processes.
        validations: how often the validation split is looked at; the best program of these is kept.
        validation_images: how many images of the validation split each validation looks at: a number, or "all". They
            are a stratified sample by the seed, the same in every validation. "auto" is as many as are learned from
            between two validations, 250 at the least: what validating costs follows the budget.
        precision: the type that the host computes in while the program learns: its weights' own ("float32"),
            "bfloat16", "float16", or "auto": bfloat16 where the device multiplies it in hardware, else float32.
            Program, label map, loss and learner stay in float32.
        cuda_graphs: on a GPU, record a step once and replay it, which saves most of a small batch's time; the numbers
            are the same.
        seed: of start values, of the order of the images, and of torch's random numbers while the run goes on.
        checkpoint_every: how often the state is saved beside the validations: steps such as 100, or seconds such as
            30s. The result doesn't depend on it.
    """

    learner: str = "adam"
    augmentation: str = added_later("none")
    loss: LossKind = "auto"
    epochs: float | None = None
    images: int | None = None
    seconds: float | None = None
    queries: int | None = added_later(None)
    requests: int | None = added_later(None)
    cost: float | None = added_later(None)
    price: float | None = added_later(None)
    batch_size: int | Literal["auto"] = "auto"
    sampling: Sampling = dataclasses.field(default="stratified", metadata={"before": "shuffled"})
    num_microbatches: int | None = renamed("parts", None)
    validations: int = 10
    validation_images: SampleSize | Literal["auto"] = added_later("auto")
    precision: Precision = added_later("float32")
    cuda_graphs: bool = added_later(True)
    seed: int = 0
    checkpoint_every: str = "30s"

    def __post_init__(self) -> None:
        self.budget  # noqa: B018 - making it checks the limits
        Interval.parse(self.checkpoint_every)
        if (loss := parse(self.loss).name) != "auto" and not is_listed("losses", loss):
            raise ConfigError(f"no loss {self.loss!r}; {nearest(loss, ['auto', *names('losses')])}")
        if self.precision not in get_args(Precision):
            raise ConfigError(f"no precision {self.precision!r}; known: {', '.join(get_args(Precision))}")
        if self.sampling not in get_args(Sampling):
            raise ConfigError(f"no sampling {self.sampling!r}; known: {', '.join(get_args(Sampling))}")
        most = BATCH_SIZE if self.batch_size == "auto" else self.batch_size
        for option, value in (("batch_size", most), ("validations", self.validations)):
            if value < 1:
                raise ConfigError(f"{option}={value}; at least 1 is expected")
        check_sample_size("validation_images", self.validation_images)
        if self.num_microbatches is not None and not 1 <= self.num_microbatches <= most:
            raise ConfigError(
                f"num_microbatches={self.num_microbatches}; 1 to {most} are expected, the images of a batch"
            )
        if not 0 <= self.seed < MAX_SEED:
            raise ConfigError(f"seed={self.seed}; a whole number from 0 to 2^40 - 1 is expected")

    @property
    def budget(self) -> Budget:
        """The limits of what is learned from, asked for and paid, as one value."""
        limits = {f.name: getattr(self, f.name) for f in dataclasses.fields(Budget)}
        if all(value is None for name, value in limits.items() if name != "price"):
            limits["epochs"] = EPOCHS
        return Budget(**limits)

    def settled_batch_size(self, num_classes: int) -> int:
        """The batch size, or what "auto" stands for.

        Args:
            num_classes: of the task.
        """
        if self.batch_size != "auto":
            return self.batch_size
        return BATCH_SIZE // num_classes * num_classes or BATCH_SIZE


def check_sample_size(name: str, size: int | str) -> None:
    """Refuse a number of images that isn't positive.

    Args:
        name: the option's name, for the message.
        size: the option's value: a number of images, or a word.

    Raises:
        ConfigError: the number is below 1.
    """
    if isinstance(size, int) and size < 1:
        raise ConfigError(f"{name}={size}; at least 1 is expected, or 'all'")


def current_names(options: type[FitOptions], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of options by today's names: older files and scripts may use former ones.

    Args:
        options: the dataclass whose fields are the options.
        values: a value for each option that is given, by its name of today or a former one.

    Raises:
        ConfigError: an option is given twice, by both of its names.
    """
    renamed_values: dict[str, Any] = {}
    for name, value in values.items():
        today = current_name(options, name)
        if today in renamed_values:
            raise ConfigError(f"{today} is given twice, also by its former name; leave one of them out")
        renamed_values[today] = value
    return renamed_values


def with_changes(options: FitOptions, changes: Mapping[str, Any]) -> FitOptions:
    """The options with some changed, all of them checked: `fit` is called by scripts, whose values may be anything.

    Args:
        options: that hold where nothing is changed.
        changes: a value for each option that is changed, by its name of today or a former one.

    Raises:
        ConfigError: an option is unknown or given twice, or a value has the wrong type or range; names it.
        BudgetError: a budget isn't positive.
    """
    if not isinstance(options, FitOptions):
        raise ConfigError(f"options={shown(options)}; FitOptions are expected, or options by their names")
    values = {f.name: getattr(options, f.name) for f in dataclasses.fields(FitOptions)}
    values |= current_names(FitOptions, changes)
    values["checkpoint_every"] = str(plain(values["checkpoint_every"]))  # Steps may be given as a number.
    checked: FitOptions = given_by_script(FitOptions, values, component="fit")
    return checked


def current_name(options: type[FitOptions], name: str) -> str:
    """Today's name of an option that may be called by its former name; any other name is returned as it is.

    Args:
        options: the dataclass whose fields are the options.
        name: the name that a file or a script uses.
    """
    former = {f.metadata["former"]: f.name for f in dataclasses.fields(options) if "former" in f.metadata}
    return former.get(name, name)


def resume_key(model: "Reprogrammed", options: FitOptions) -> dict[str, Any]:
    """Everything that decides a run's result but for its last bits, by the names that a message uses.

    A checkpoint is resumed by a run with an equal key. The names and spellings are those of version 0.1, so that its
    checkpoints can be resumed.

    Args:
        model: the model, as it was built.
        options: the run's options; learner and augmentation are specs.

    Returns:
        JSON values, by name.
    """
    from reprogram.training.losses import loss_named

    files = loss_named(options.loss).files_digest() if options.loss != "auto" else ""
    # A model that was loaded needs them no more.
    map_files = [path for path in model.label_map.needs(model.label_map.config) if path.is_file()]
    younger = {
        "augmentation": (options.augmentation, "none"),
        "precision": (options.precision, "float32"),
        "sampling": (options.sampling, "shuffled"),
        "validation images": (options.validation_images, "auto"),
        "queries": (options.queries, None),
        "requests": (options.requests, None),
        "cost": (options.cost, None),
        "price": (options.price if options.cost is not None else None, None),
        "contents of the loss's files": (files, ""),
        MAP_FILES: (digest_of_files(map_files) if map_files else "", ""),
        "defences": ((model.host.guard and model.host.guard.spec()) or None, None),
    }
    return {
        "host": model.host.fingerprint,
        "task": model.task.fingerprint,
        "canvas": format_spec(model.canvas),
        "program": format_spec(model.program),
        "label map": format_spec(model.label_map),
        "learner": stored_spelling("learners", options.learner),
        "loss": options.loss,
        "seed": options.seed,
        "batch size": options.settled_batch_size(len(model.task.classes)),
        "epochs": options.budget.epochs,
        "images": options.budget.images,
        "seconds": options.budget.seconds,
        "validations": options.validations,
        **{name: value for name, (value, default) in younger.items() if value != default},
    }
