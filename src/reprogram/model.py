"""`Reprogrammed`: the module that composes label map, host, program and canvas."""

import base64
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reprogram.adapter import Adapter, Provenance, TaskRecord, compose
from reprogram.canvases.base import Canvas, size_in_window
from reprogram.errors import ConfigError, HostUnavailableError, ReprogramError
from reprogram.hosts._factory import built, load_host
from reprogram.hosts.base import Host, HostSource
from reprogram.labelmaps.base import LabelMap
from reprogram.programfile import file as programfile
from reprogram.programfile.pictures import drawn
from reprogram.programs._unsaved import unsaved_buffers
from reprogram.programs.base import Program
from reprogram.registry import configure, format_spec
from reprogram.tasks._factory import load_task
from reprogram.tasks.base import Task
from reprogram.utils.arguments import fits, said
from reprogram.utils.files import user_path
from reprogram.utils.images import to_png
from reprogram.utils.messages import shown
from reprogram.utils.text import html_table, printable, shortened


class Reprogrammed(nn.Module):
    """LabelMap(Host(Program(Canvas(x)))): a classifier for the task, made of a frozen host and a learned program.

    An ordinary `nn.Module`: only the parameters of program and label map require grad, the host stays in evaluation
    mode.

    Args:
        canvas: places task images in the host's input.
        program: the learned input.
        host: the frozen classifier.
        label_map: turns host scores into task scores.
        task: the record of the task that the program is learned for.
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
            canvas: the spec of the canvas.
            program: the spec of the program.
            label_map: the spec of the label map.
            seed: decides the program's start values.

        Returns:
            The model, on the host's device, with start values.

        Raises:
            ConfigError: a spec is wrong, or the components don't fit each other.
        """
        host = load_host(host) if isinstance(host, str) else host
        if not isinstance(host, Host):
            raise ConfigError(f"a {type(host).__name__} is no host; wrap it: Host.wrap(classifier, size=224)")
        if isinstance(task, str):
            shape = host.info.shape
            task = load_task(task, size_of_unequal=lambda: size_in_window(canvas, shape))
        if not isinstance(task, Task):
            raise ConfigError(f"a {type(task).__name__} is no task; give a Task, or the spec of one")
        if not fits(seed, int):
            raise ConfigError(f"seed={shown(seed)}; {said(int)} is expected")
        record = TaskRecord.of(task)
        with torch.inference_mode(False):  # What is built in that mode could never be learned.
            adapter = compose(
                {
                    family: configure(family, text)
                    for family, text in (("canvases", canvas), ("programs", program), ("label-maps", label_map))
                },
                image_shape=record.shape,
                host_shape=host.info.shape,
                num_host_labels=host.info.num_classes,
                num_task_labels=len(record.classes),
            )
            adapter.program.initialize(torch.Generator().manual_seed(seed))
            names = tuple(map(host.info.label, range(host.info.num_classes)))
            adapter.label_map.initialize(names * adapter.program.num_groups, record.classes)
        return cls.of(adapter, host, record).match_host()

    @classmethod
    def of(cls, adapter: Adapter, host: Host, task: TaskRecord) -> "Reprogrammed":
        """The model that puts three modules around a host.

        Args:
            adapter: canvas, program and label map.
            host: the frozen classifier.
            task: the record of the task that the program is learned for.
        """
        return cls(canvas=adapter.canvas, program=adapter.program, host=host, label_map=adapter.label_map, task=task)

    def _facts(self) -> dict[str, str]:
        """What people want to know of the model, by what it is."""
        learned = sum(parameter.numel() for parameter in self.learned_parameters())
        return {
            "images": " × ".join(map(str, self.task.shape)),
            "classes": f"{len(self.task.classes)}: {shortened(self.task.classes)}",
            "canvas": format_spec(self.canvas),
            "program": f"{format_spec(self.program)}, {learned:,} learned numbers",
            "label map": format_spec(self.label_map),
        }

    def __repr__(self) -> str:
        facts = "; ".join(f"{name} {value}" for name, value in self._facts().items())
        return f"Reprogrammed {printable(self.task.name)} on {printable(self.host.info.id)}: {facts}"

    def _repr_html_(self) -> str:
        table = html_table({"task": self.task.name, "host": self.host.info.id, **self._facts()})
        png = base64.b64encode(to_png(drawn(self)[0])).decode("ascii")
        style = "width: 14em; image-rendering: pixelated"
        return f"{table}<img alt='the program' style='{style}' src='data:image/png;base64,{png}'>"

    @property
    def adapter(self) -> Adapter:
        """Canvas, program and label map: everything but the host."""
        return Adapter(canvas=self.canvas, program=self.program, label_map=self.label_map)

    def match_host(self) -> "Reprogrammed":
        """Move canvas, program and label map to the host's device."""
        device = next((p.device for p in self.host.net.parameters()), self.host.mean.device)
        for module in (self.canvas, self.program, self.label_map):
            module.to(device)
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
        """The host's own scores of the reprogrammed images.

        Args:
            images: b × c × h × w, uint8 or floating point in [0, 1].
            labels: the host labels whose scores are needed; all by default. The others may be NaN.

        Returns:
            b × K host scores (logits). Where the program makes several views of an image, what `Program.combined` says.
        """
        framed = self.program(self.canvas(images))
        if self.program.num_views == 1:
            scores: Tensor = self.host(framed, labels=labels)
            return scores
        views = [self.host(replace(framed, window=view)) for view in framed.window.chunk(self.program.num_views)]
        return self.program.combined(torch.cat(views))

    def learned_parameters(self) -> list[nn.Parameter]:
        """The parameters of program and label map that require grad."""
        return [p for module in (self.program, self.label_map) for p in module.parameters() if p.requires_grad]

    def learned_state(self) -> dict[str, Tensor]:
        """Copies of all tensors of program and label map, by the names that the program file uses."""
        return self.adapter.learned_state()

    def load_learned_state(self, state: dict[str, Tensor]) -> None:
        """Load the tensors that `learned_state` returned.

        Args:
            state: tensors by the names `program.NAME` and `label_map.NAME`; other names are ignored.
        """
        self.adapter.load_learned_state(state)

    def warm_start(self, path: str | Path) -> str:
        """Take a file's program as start values; it may have been learned for another task or host.

        Only the program's parameters are taken: the file's label map, its canvas and the program's options are not.
        The task image may have another size and position, the host's input may not have another size.

        Args:
            path: the program file.

        Returns:
            The file's digest.

        Raises:
            ProgramFileError: the file is refused.
            ConfigError: it holds another kind of program, or one of another size or on other pixels.
        """
        file = programfile.read(user_path(path))
        programs = (file.adapter.program, self.program)
        file_shapes, shapes = ({name: tuple(p.shape) for name, p in program.named_parameters()} for program in programs)
        if programs[0].name() != programs[1].name() or shapes != file_shapes or not shapes:
            theirs, ours = (
                f"{program.name()} ({' and '.join('x'.join(map(str, shape)) for shape in sizes.values()) or 'none'})"
                for program, sizes in zip(programs, (file_shapes, shapes), strict=True)
            )
            raise ConfigError(
                f"{path}: learned numbers of {theirs} can't be the start of {ours}; give a file with the same program "
                "and host input"
            )
        file_buffers, buffers = unsaved_buffers(programs[0], self.program.geometry), unsaved_buffers(self.program)
        if any(not torch.equal(buffers[name].cpu(), value) for name, value in file_buffers.items()):
            theirs, ours = map(format_spec, programs)
            raise ConfigError(
                f"{path}: the numbers of {theirs} lie elsewhere than those of {ours}; give the same program"
            )
        with torch.no_grad():
            for parameter, value in zip(self.program.parameters(), file.adapter.program.parameters(), strict=True):
                parameter.copy_(value)
        return file.header.digest

    def save(self, path: str | Path) -> Path:
        """Write the program file; the same model gives the same bytes.

        Args:
            path: the file to write.

        Returns:
            The path.

        Raises:
            ProgramFileError: a learned value isn't finite, or the reader would refuse the file.
            DataError: the file can't be written.
        """
        path = user_path(path)
        return programfile.save(path, self.adapter, host=self.host, task=self.task, provenance=self.provenance)


def load(
    path: str | Path, *, host: Host | str | None = None, download: bool = False, any_host: bool = False
) -> Reprogrammed:
    """Load a program file and the host it was learned for.

    Args:
        path: the program file, or `hub:REPO[@REV]` for one of the Hugging Face Hub.
        host: the host, or its spec; by default the one that the file names.
        download: whether the host's weights, and a program of the Hub, may be fetched.
        any_host: accept, with a warning, a host of the same shape with other weights or preprocessing.

    Returns:
        The model, on the host's device.

    Raises:
        ProgramFileError: the file is refused.
        HostMismatchError: the program was learned for another host.
        HostUnavailableError: the host isn't here.
    """
    path = user_path(path)
    file = programfile.read(path, download=download)
    header = file.header
    if host is None:
        host = _named_host(path, header.host.id, download)
    elif not isinstance(host, Host):
        host = load_host(host, download=download)
    file.check_host(path, host, any_host=any_host)
    if header.host.labels:
        host.know(header.host.labels)
    model = Reprogrammed.of(file.adapter, host, TaskRecord(**header.task.model_dump()))
    model.provenance = Provenance(created_by=header.created_by, metrics=dict(header.metrics))
    return model.match_host().eval()


def _named_host(path: Path, spec: str, download: bool) -> Host:
    """The host that a file names: a listed one with plain options; a stranger doesn't choose which files are opened."""
    try:
        variant, config = configure("hosts", spec)
        source: HostSource = variant(config)
        if not source.nameable():
            raise HostUnavailableError("it was built from a file or with special arguments, or it is a service")
        return built(source, download=download)
    except ReprogramError as error:
        kind = type(error) if isinstance(error, HostUnavailableError) else HostUnavailableError
        raise kind(
            f"{path}: its host {spec} can't be built from its name: {error}; give the host with --host"
        ) from None
