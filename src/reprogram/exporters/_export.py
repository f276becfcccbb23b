"""`export`: write a model in another format, run the file by its own runtime, and only then give it its name."""

import contextlib
import copy
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from reprogram.errors import ConfigError, ExportParityError, ReprogramError, WriteError
from reprogram.exporters._graph import capture
from reprogram.exporters._images import images_for
from reprogram.exporters._parity import BATCHES, Check, check
from reprogram.exporters._pipeline import Pipeline
from reprogram.exporters._record import record
from reprogram.exporters.base import Exporter
from reprogram.hosts._answering import AnsweringHost
from reprogram.hosts.base import Host
from reprogram.model import Reprogrammed, load
from reprogram.programfile.file import read
from reprogram.registry import configure, find, names
from reprogram.tasks.base import Task
from reprogram.types import SampleSize
from reprogram.utils.files import exists, publish, user_path
from reprogram.utils.messages import shown

Pixels = Literal["uint8", "float32"]
"""The type of the images that a file takes: levels from 0 to 255, or numbers in [0, 1]."""

LARGEST = 64
"""The largest batch that a file is checked on, by default."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An exported file that was checked.

    Attributes:
        path: the file.
        files: all files that belong to it, `path` among them.
        format: the exporter's name.
        check: what the file's answers were compared on.
        images_of: the images of the check: the task's test images, or made ones.
        notes: lines that a user has to know, such as about a second file.
        metadata: the texts that the file keeps.
    """

    path: Path
    files: tuple[Path, ...]
    format: str
    check: Check
    images_of: str
    notes: tuple[str, ...]
    metadata: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values, with the files' sizes in bytes."""
        return {
            "file": str(self.path),
            "files": {str(path): path.stat().st_size for path in self.files},
            "format": self.format,
            "images": self.check.images,
            "images_of": self.images_of,
            "batches": list(self.check.batches),
            "error": self.check.error,
            "notes": list(self.notes),
            "metadata": self.metadata,
        }

    def __str__(self) -> str:
        size = sum(path.stat().st_size for path in self.files) / 1e6
        batches = ", ".join(map(str, self.check.batches))
        return (
            f"{self.path}: {self.format}, {size:.1f} MB; run on {self.check.images} {self.images_of} in batches of "
            f"{batches}: the model's labels, scores within {self.check.error:.0e}"
        )


def export(
    program: Reprogrammed | str | Path,
    path: str | Path,
    *,
    to: str = "",
    host: Host | str | None = None,
    download: bool = False,
    any_host: bool = False,
    pixels: Pixels = "uint8",
    host_top: int = 0,
    task: Task | str | None = None,
    test_images: SampleSize = "all",
    max_batch: int = LARGEST,
    overwrite: bool = False,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write the whole way from task images to task scores as a file that runs without this package.

    The file takes any number of images. Before it gets its name it is run by the format's own runtime on batches of 1,
    3, 17 and `max_batch` images and on the task's test images, and has to answer as the model does: every score within
    1e-4 of the image's largest one, and the same label for every image.

    Args:
        program: the model, or the path of a program file.
        path: the file to write; its suffix is the format's own.
        to: the exporter's spec, such as `onnx(opset=20)`; by default the one that the suffix belongs to.
        host: of a program file, the host or its spec, where it isn't the one that the file names.
        download: whether the weights of a program file's host, and the task's data, may be fetched.
        any_host: accept, with a warning, another host than the program file was learned for.
        pixels: the type of the images that the file takes: uint8 levels or float32 numbers in [0, 1].
        host_top: how many of the host's own top answers the file gives too, 0 to the number of host labels.
        task: the task, or its spec, whose test images are looked at; by default the one that the model names, where it
            is listed and its data are here, else images that are made.
        test_images: how many of the test images are looked at: a stratified sample, or "all".
        max_batch: the largest batch that is tried, at least 1.
        overwrite: whether a file of this name is replaced.
        on_progress: called with a line now and then.

    Returns:
        What was written and looked at.

    Raises:
        ConfigError: a part of the model can't be exported, an argument makes no sense, or a package isn't installed.
        WriteError: the file can't be written.
        ExportParityError: the file answers otherwise than the model; nothing was written.
        ProgramFileError: the program file is refused.
        HostMismatchError: the program was learned for another host.
        HostUnavailableError: the host isn't here.
    """
    path = user_path(path)
    exporter = _exporter(to, path)
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it first")
    _check_free([path, *(path.with_suffix(suffix) for suffix in exporter.beside)], overwrite)
    _check_options(pixels, max_batch)
    exporter.require()
    with _beside(path) as folder, torch.inference_mode(False):
        digest = {}
        if not isinstance(program, Reprogrammed):
            on_progress("loading the program and its host")
            digest = {"program_digest": read(user_path(program)).header.digest}
            program = load(program, host=host, download=download, any_host=any_host)
        model = _on_cpu(program)
        _check_model(model, host_top)
        shown, images_of = images_for(model, task, test_images, max_batch + sum(BATCHES), download=download)
        metadata = record(model, pixels=pixels, host_top=host_top) | digest
        job = _Job(exporter, model, folder / path.name, shown, pixels, on_progress)
        with model.host.uncounted(), model.host.in_precision("float32"):
            notes = job.write(host_top, metadata)
            result = job.check(max_batch)
        written = sorted(folder.iterdir(), key=lambda file: file.name == path.name)
        _check_free([path.parent / file.name for file in written], overwrite)
        publish(written, path.parent)
    return Exported(
        path=path,
        files=tuple(path.parent / file.name for file in reversed(written)),
        format=exporter.name(),
        check=result,
        images_of=images_of,
        notes=tuple(notes),
        metadata=metadata,
    )


def _check_options(pixels: str, max_batch: int) -> None:
    if pixels not in ("uint8", "float32"):
        raise ConfigError(f"pixels={shown(pixels)}; uint8 or float32 is expected")
    if type(max_batch) is not int or not 1 <= max_batch <= 2**16:
        raise ConfigError(f"max_batch={shown(max_batch)}; 1 to 65536 images are expected")


def _exporter(to: str, path: Path) -> Exporter:
    """The exporter of a spec, or of a suffix; the two have to agree."""
    by_suffix = {find("exporters", name).suffix: name for name in names("exporters")}
    if not to and path.suffix not in by_suffix:
        known = ", ".join(f"{name} ({suffix})" for suffix, name in by_suffix.items())
        raise ConfigError(f"{path}: its suffix belongs to no format; the formats are {known}")
    variant, config = configure("exporters", to or by_suffix[path.suffix])
    exporter: Exporter = variant(config)
    if path.suffix != exporter.suffix:
        name = path.with_suffix(exporter.suffix).name
        raise ConfigError(f"{path}: a file of the format {exporter.name()} ends with {exporter.suffix}: {name}")
    return exporter


def _check_free(paths: list[Path], overwrite: bool) -> None:
    taken = [] if overwrite else [path for path in paths if exists(path)]
    if taken:
        raise ConfigError(f"{taken[0]}: there is one already; give another name, or overwrite it (--overwrite)")


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A new folder beside a file that is to be written; it is gone afterwards, whatever happened."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name[:60]}.", suffix=".tmp", dir=path.parent))
    except OSError as error:
        reason = error.strerror or error
        raise WriteError(f"{path}: can't be written ({reason}); choose another place") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _on_cpu(model: Reprogrammed) -> Reprogrammed:
    """The model on the CPU, where formats are checked; a copy where it is elsewhere."""
    return model if model.host.mean.device.type == "cpu" else copy.deepcopy(model).to("cpu")


def _check_model(model: Reprogrammed, host_top: int) -> None:
    """Refuse hosts without weights to write, and a number of answers that the host doesn't give."""
    info = model.host.info
    answers = isinstance(model.host, AnsweringHost) or info.access in ("top-k", "label")
    if answers or (info.access != "gradient" and next(model.host.net.parameters(), None) is None):
        raise ConfigError(f"host {info.id} can't be exported: it only answers, and its weights aren't to be seen")
    if model.host.guard is not None or model.host.asks_per_image > 1:
        raise ConfigError(
            f"host {info.id} can't be exported: defences and averages aren't part of a file; export the program on the "
            "host itself (--host)"
        )
    if type(host_top) is not int or not 0 <= host_top <= info.num_classes:
        raise ConfigError(f"host_top={shown(host_top)}; 0 to {info.num_classes} of the host's answers can be given")


@dataclass(frozen=True)
class _Job:
    """The writing and the check of one file."""

    exporter: Exporter
    model: Reprogrammed
    path: Path
    shown: Tensor
    pixels: Pixels
    on_progress: Callable[[str], None]

    def write(self, host_top: int, metadata: dict[str, str]) -> list[str]:
        self.on_progress("capturing the graph")
        example = self.shown[torch.arange(2) % len(self.shown)]
        with torch.no_grad():
            self.model(example)  # Networks and orders that are made when they are first needed are made now.
        graph = capture(Pipeline(self.model, host_top=host_top), self._converted(example))
        self.on_progress(f"writing {self.exporter.name()}")
        try:
            return self.exporter.write(graph, self.path, metadata)
        except ReprogramError:
            raise
        except OSError as error:
            reason = error.strerror or error
            raise WriteError(f"{self.path.name}: can't be written ({reason}); choose another place") from error
        except Exception as error:  # Converters raise whatever they meet.
            raise ConfigError(f"can't be written as {self.exporter.name()}: {_one_line(error)}") from None

    def check(self, largest: int) -> Check:
        self.on_progress("running it")
        try:
            opened = self.exporter.open(self.path)
        except Exception as error:  # Runtimes raise whatever they meet.
            raise ExportParityError(f"the file can't be opened ({_one_line(error)}); nothing was written") from None
        count = len(self.shown)
        try:
            return check(
                lambda levels: opened(self._converted(torch.from_numpy(levels)).numpy()),
                self.model,
                self.shown,
                largest=largest,
                on_images=lambda done: self.on_progress(f"{done} of {count} images compared"),
            )
        except ExportParityError as error:
            raise ExportParityError(f"the file isn't the model: {error}; nothing was written") from None

    def _converted(self, levels: Tensor) -> Tensor:
        return levels if self.pixels == "uint8" else levels.float() / 255


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
