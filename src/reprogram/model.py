"""`Reprogrammed`: the module that composes label map, host, program and canvas."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reprogram.canvases.base import Canvas
from reprogram.errors import ConfigError
from reprogram.hosts.base import Host, HostSource
from reprogram.labelmaps.base import LabelMap
from reprogram.programs.base import Program, require_frame
from reprogram.registry import configure, format_spec
from reprogram.tasks.base import Task, TaskSource

MAX_PIXELS = 2**20
MAX_VALUES = 3 * MAX_PIXELS
"""Of a host's input and of a task image: 3 x 1024 x 1024. A stranger's file can't ask for more."""


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """What a program keeps of the task it was learned for.

    Attributes:
        name: of the task.
        classes: the task's labels.
        fingerprint: of its images and labels.
        shape: c, h, w of its images.
    """

    name: str
    classes: tuple[str, ...]
    fingerprint: str
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, task: Task) -> "TaskRecord":
        """The record of a loaded task."""
        return cls(name=task.name, classes=task.class_names, fingerprint=task.fingerprint, shape=task.image_shape)


@dataclass(kw_only=True)
class Provenance:
    """What a program file says about how it came about: who made it, and the numbers of its run."""

    created_by: str = ""
    metrics: dict[str, float | int | str] = field(default_factory=dict)


class Reprogrammed(nn.Module):
    """LabelMap(Host(Program(Canvas(x)))): a classifier for the task, made of a frozen host and a learned program.

    An ordinary `nn.Module`: only the parameters of program and label map require grad, the host stays in evaluation
    mode.

    Args:
        canvas: places task images in the host's input.
        program: the learned input.
        host: the frozen classifier.
        label_map: from host scores to task scores.
        task: what the program is learned for.
    """

    def __init__(self, *, canvas: Canvas, program: Program, host: Host, label_map: LabelMap, task: TaskRecord) -> None:
        super().__init__()
        self.canvas = canvas
        self.program = program
        self.host = host
        self.label_map = label_map
        self.task = task
        self.provenance = Provenance()

    @classmethod
    def build(
        cls,
        host: Host | str,
        task: Task | str,
        *,
        canvas: str = "centre",
        program: str = "frame",
        label_map: str = "first",
        seed: int = 0,
    ) -> "Reprogrammed":
        """Compose a model from specs.

        Args:
            host: a host, or the spec of one.
            task: a task, or the spec of one.
            canvas: spec.
            program: spec.
            label_map: spec.
            seed: of the program's start values.

        Raises:
            ConfigError: a spec is wrong, or the parts don't fit each other.
        """
        host = load_host(host) if isinstance(host, str) else host
        task = load_task(task) if isinstance(task, str) else task
        record = TaskRecord.of(task)
        parts = compose(
            {
                family: configure(family, text)
                for family, text in (("canvases", canvas), ("programs", program), ("label-maps", label_map))
            },
            image_shape=record.shape,
            host_shape=host.info.shape,
            num_host_labels=host.info.num_classes,
            num_task_labels=len(record.classes),
        )
        parts[1].initialize(torch.Generator().manual_seed(seed))
        parts[2].initialize(tuple(map(host.info.label, range(host.info.num_classes))), record.classes)
        return cls(canvas=parts[0], program=parts[1], host=host, label_map=parts[2], task=record).match_host()

    def match_host(self) -> "Reprogrammed":
        """Bring canvas, program and label map to the host's device."""
        device = next((p.device for p in self.host.net.parameters()), self.host.mean.device)
        for part in (self.canvas, self.program, self.label_map):
            part.to(device)
        return self

    def forward(self, images: Tensor) -> Float[Tensor, "b k"]:
        """Classify task images.

        Args:
            images: b × c × h × w, uint8 or floating point in [0, 1].

        Returns:
            b × k task scores (logits).
        """
        scores: Tensor = self.label_map(self.host_scores(images, self.label_map.reads()))
        return scores

    def host_scores(self, images: Tensor, labels: Tensor | None = None) -> Float[Tensor, "b K"]:
        """What the host itself answers to the reprogrammed images.

        Args:
            images: b × c × h × w, uint8 or floating point in [0, 1].
            labels: the host labels whose scores are wanted; all by default. The others may be NaN.
        """
        scores: Tensor = self.host(self.program(self.canvas(images)), labels=labels)
        return scores

    def learned_parameters(self) -> list[nn.Parameter]:
        """The parameters of program and label map."""
        return [p for part in (self.program, self.label_map) for p in part.parameters() if p.requires_grad]

    def learned_state(self) -> dict[str, Tensor]:
        """Copies of all tensors of program and label map, by the names that the program file uses."""
        return {
            f"{part}.{name}": value.detach().cpu().clone()
            for part in ("program", "label_map")
            for name, value in getattr(self, part).state_dict().items()
        }

    def load_learned_state(self, state: dict[str, Tensor]) -> None:
        """Take over what `learned_state` returned."""
        for part in ("program", "label_map"):
            own = {key.partition(".")[2]: value for key, value in state.items() if key.startswith(f"{part}.")}
            getattr(self, part).load_state_dict(own)

    def start_from(self, path: str | Path) -> str:
        """Take over the program of a file as start values: one learned for another task or host.

        Only what is learned in it: the file's label map and canvas stay behind, and so do the program's options. Size
        and place of the task image may differ, the host's input may not.

        Args:
            path: of the program file.

        Returns:
            The file's digest.

        Raises:
            ProgramFileError: the file is refused.
            ConfigError: it holds another kind of program, or one of another size or on other pixels.
        """
        from reprogram import programfile

        file = programfile.read(Path(path))
        programs = (file.parts[1], self.program)
        theirs, mine = ({name: tuple(p.shape) for name, p in program.named_parameters()} for program in programs)
        if programs[0].name() != programs[1].name() or mine != theirs or not mine:
            said, here = (
                f"{program.name()} ({' and '.join('x'.join(map(str, shape)) for shape in shapes.values()) or 'none'})"
                for program, shapes in zip(programs, (theirs, mine), strict=True)
            )
            raise ConfigError(
                f"{path}: learned numbers of {said} can't be the start of {here}; give a file with the same program "
                "and host input"
            )
        places, mine_places = map(_made_by_options, programs)
        if programs[0].geometry == self.program.geometry and any(
            not torch.equal(mine_places[name].cpu(), value) for name, value in places.items()
        ):
            said, here = map(format_spec, programs)
            raise ConfigError(
                f"{path}: the numbers of {said} lie elsewhere than those of {here}; give the same program"
            )
        with torch.no_grad():
            for own, other in zip(self.program.parameters(), file.parts[1].parameters(), strict=True):
                own.copy_(other)
        return file.header.digest

    def save(self, path: str | Path) -> Path:
        """Write the program file; the same model gives the same bytes.

        Raises:
            DataError: it can't be written.
        """
        from reprogram import programfile

        return programfile.save(self, Path(path))


def _made_by_options(program: Program) -> dict[str, Tensor]:
    """The buffers that aren't saved with a program: which pixels or waves its numbers belong to."""
    saved = program.state_dict()
    return {name: value for name, value in program.named_buffers() if name not in saved}


def compose(
    chosen: dict[str, tuple[type[Any], Any]],
    *,
    image_shape: tuple[int, int, int],
    host_shape: tuple[int, int, int],
    num_host_labels: int,
    num_task_labels: int,
) -> tuple[Canvas, Program, LabelMap]:
    """Build canvas, program and label map from their classes and configurations.

    Raises:
        ConfigError: they don't fit each other, or are too large.
    """
    for what, shape in (("task image", image_shape), ("canvas", host_shape)):
        if shape[1] * shape[2] > MAX_PIXELS or math.prod(shape) > MAX_VALUES:
            raise ConfigError(
                f"a {what} of {'x'.join(map(str, shape))} values; at most {MAX_PIXELS:,} pixels and "
                f"{MAX_VALUES:,} values are handled, use smaller images or another host"
            )
    (canvas_type, canvas_config), (program_type, program_config) = chosen["canvases"], chosen["programs"]
    map_type, map_config = chosen["label-maps"]
    canvas = canvas_type(canvas_config, image_shape=image_shape, host_shape=host_shape)
    program = program_type(program_config, geometry=canvas.geometry)
    if program.confined and list(program.parameters()):
        require_frame(program.name(), canvas.geometry)
    label_map = map_type(map_config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
    return canvas, program, label_map


def load_host(spec: str, *, download: bool = False) -> Host:
    """Build a host from its spec, such as `efficientnet-lite0` or `timm:resnet50.a1_in1k`.

    Raises:
        ConfigError: no such host.
        HostUnavailableError: its weights aren't here.
    """
    return host_source(spec).build(download=download)


def host_source(spec: str) -> HostSource:
    """Where a host comes from; nothing is built yet.

    Raises:
        ConfigError: no such host.
    """
    variant, config = configure("hosts", spec)
    source: HostSource = variant(config)
    return source


def load_task(spec: str, *, data: str = "", download: bool = False, skip_bad: bool = False) -> Task:
    """Load a task from its spec, such as `mnist` or `folder:PATH`.

    Args:
        spec: of the task.
        data: where its files lie, for tasks that take such an option.
        download: whether data may be fetched.
        skip_bad: whether to go on without files that can't be read, for tasks that take such an option.

    Raises:
        ConfigError: no such task.
        DataError: its data aren't here, or are damaged.
    """
    return task_source(spec, data=data, skip_bad=skip_bad).load(download=download)


def task_source(spec: str, *, data: str = "", skip_bad: bool = False) -> TaskSource:
    """Where a task comes from; nothing is loaded yet. Arguments are those of `load_task`.

    Raises:
        ConfigError: no such task, or it takes no such option.
    """
    from dataclasses import fields, replace

    variant, config = configure("tasks", spec)
    known = {f.name for f in fields(config)}
    if data:
        if "data" not in known:
            raise ConfigError(f"task {variant.name()}: takes no data folder; leave --data out")
        config = replace(config, data=data)
    if skip_bad:
        if "skip_bad" not in known:
            raise ConfigError(f"task {variant.name()}: can't go on without files; leave --skip-bad out")
        config = replace(config, skip_bad=True)
    source: TaskSource = variant(config)
    return source


def load(
    path: str | Path, *, host: Host | str | None = None, download: bool = False, any_host: bool = False
) -> Reprogrammed:
    """Load a program file and the host it was learned for.

    Args:
        path: of the program file.
        host: the host, or its spec; by default the one that the file names.
        download: whether the host's weights may be fetched.
        any_host: go on, with a warning, where the host isn't the one the program was learned for.

    Raises:
        ProgramFileError: the file is refused.
        HostMismatchError: the program was learned for another host.
        HostUnavailableError: the host isn't here.
    """
    from reprogram import programfile

    return programfile.load(Path(path), host=host, download=download, any_host=any_host)
