"""`reprogram predict`: task labels for ordinary image files, a few or very many."""

import codecs
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reprogram.cli._completers import components
from reprogram.cli._rows import open_rows, written
from reprogram.cli.console import Common, Display, as_json, emit
from reprogram.cli.usage import UsageError
from reprogram.errors import DataError
from reprogram.types import Precision
from reprogram.utils.files import exists
from reprogram.utils.image_files import expand
from reprogram.utils.process import start_torch
from reprogram.utils.text import as_utf8, counted, printable

if TYPE_CHECKING:
    from reprogram.evaluation.bulk import FileAnswer
    from reprogram.hosts.base import Host
    from reprogram.model import Reprogrammed


def predict_command(
    program_file: Path,
    /,
    *images: Annotated[str, Parameter(allow_leading_hyphen=True)],
    list: Path | None = None,
    out: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    format: Literal["csv", "jsonl", "parquet"] | None = None,
    skip_bad: bool = False,
    host: Annotated[str | None, Parameter(completer=components("hosts"))] = None,
    any_host: bool = False,
    download: bool = False,
    engine: Literal["shared", "dense"] = "shared",
    precision: Precision = "float32",
    common: Common | None = None,
) -> int:
    """Say what each image is, by the task's labels, and what the host itself sees in it.

    Images that can't be read are named on stderr, with --out the first ten and the number of the others; all others are
    answered all the same, and the exit code is 3.

    Args:
        program_file: written by fit, or the folder of its run.
        images: image files, folders, and patterns such as 'photos/**/*.jpg'; - reads a list of paths from stdin, one a
            line.
        list: a file with a list of paths, one a line.
        out: file that gets a row for each image as it is answered, .csv, .jsonl or .parquet; the same command goes on
            with one that was begun. - writes the rows to stdout.
        format: of the rows, where the file's ending doesn't say it.
        skip_bad: count images that can't be read as done; the exit code is 0.
        host: the host, where it isn't the one that the file names.
        any_host: go on, with a warning, on another host than the program was learned for.
        download: allow fetching weights.
        engine: compute what the images share once, or every image whole.
        precision: the type that the host computes in; auto is bfloat16 where the device multiplies it in hardware.
        common: options of every verb.
    """
    common = common or Common()
    display = Display(common.quiet)
    given = _Images(images, list)
    total = given.count()
    other = host if any_host else None
    rows = None
    if out is not None:
        rows = open_rows(out, format, program_file, host=other, precision=precision, download=download)
    start_torch(common.threads)
    from reprogram.evaluation.bulk import answer_paths, usual_batch
    from reprogram.evaluation.precision import set_precision

    # For the whole process: files are read in threads, while others may restore the filters that reading them sets.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    model = open_program(program_file, host, download, any_host, common.device, display)
    model.host.engine = engine
    set_precision(model, precision)
    if rows is not None:
        if host and not any_host and _answers_otherwise(model.host):
            rows.add_host(host)
        rows.at_once = usual_batch(model)
        done = written(rows, given.paths(), total, lambda paths: answer_paths(model, paths), display)
        failures = done["unread"]
        if common.json:
            emit({"out": str(out), **done})
        elif str(out) != "-":
            unread = f", {failures:,} of which can't be read (the column error says why)" if failures else ""
            print(printable(f"{out}: {done['images']:,} images{unread}"))
    else:
        failures = _told(answer_paths(model, given.paths()), common.json)
    return DataError.exit_code if failures and not skip_bad else 0


def _answers_otherwise(host: "Host") -> bool:
    """Whether something stands before the host of a file, such as a defence, so that it answers otherwise."""
    return host.guard is not None or host.asks_per_image > 1 or host.info.access != "gradient"


def _told(answers: "Iterable[FileAnswer]", json: bool) -> int:
    """Print answers as they come, for people or as JSON, and errors on stderr; the number of these."""
    failures = printed = 0
    for answer in answers:
        if answer.error:
            failures += 1
            print(f"reprogram: {printable(answer.error)}", file=sys.stderr)
            continue
        if json:
            plain = {"image": as_utf8(str(answer.path)), "label": answer.label, "probability": answer.probability}
            text = as_json({**plain, "host": answer.host}, indent=2)
            print("[\n" if not printed else ",\n", "  ", text.replace("\n", "\n  "), sep="", end="", flush=True)
        else:
            host_says = ", ".join(_named(label) for label in answer.host)
            text = f"{answer.path}: {answer.label} {answer.probability:.3f}  (host: {host_says})"
            print(printable(text), flush=True)
        printed += 1
    if json:
        print("\n]" if printed else "[]")
    return failures


def _named(label: dict[str, Any]) -> str:
    """A label of the host, with its probability where one is shown."""
    probability = label["probability"]
    return str(label["label"]) if probability is None else f"{label['label']} {probability:.2f}"


class _Images:
    """The image files that the arguments name: files, folders, patterns, and lists; kept by name, not by file.

    Args:
        names: of the command line; - is a list on stdin.
        listed: a file with a list of paths, one a line.
    """

    def __init__(self, names: tuple[str, ...], listed: Path | None) -> None:
        for name in names:
            if name.startswith("-") and name != "-" and not exists(name):
                raise UsageError(f"no option {name}, and no such file; --help shows the options")
        if names.count("-") > 1:
            raise UsageError("- is given twice; stdin is one list")
        self.names, self.listed = names, listed
        self._first: list[Path] = []

    def count(self) -> int | None:
        """How many images there are, or None where a list on stdin doesn't tell before its end.

        What is left out of folders is counted on stderr.

        Raises:
            DataError: there are none, or a folder or a list can't be read.
        """
        left_out: Counter[str] = Counter()
        known = sum(1 for name in self.names if name != "-" for _ in expand(name, left_out))
        known += sum(1 for _ in self._of_list())
        if left_out:
            print(f"reprogram: left out: {counted(left_out)}", file=sys.stderr)
        if "-" in self.names:
            self._stdin = _paths_on(sys.stdin.buffer if sys.stdin is not None else None, "-")
            self._first = [*islice(self._stdin, 1)]
        if not known and not self._first:
            raise DataError("no images; give image files, a folder, or - and a list on stdin")
        return None if "-" in self.names else known

    def paths(self) -> Iterator[Path]:
        """The paths, in the order of the arguments; a list in a file comes last. Stdin is read once, as it comes."""
        for name in self.names:
            yield from chain(self._first, self._stdin) if name == "-" else expand(name)
        yield from self._of_list()

    def _of_list(self) -> Iterator[Path]:
        if self.listed is None:
            return
        try:
            with self.listed.open("rb") as file:
                if file.peek(3).startswith(codecs.BOM_UTF8):  # Some editors begin a text with it.
                    file.read(3)
                yield from _paths_on(file, str(self.listed))
        except OSError as error:
            raise DataError(f"{self.listed}: can't be read ({error.strerror}); give a list of paths") from None


def image_paths(images: tuple[str, ...]) -> list[Path]:
    """The image files that arguments name; what is left out of a folder is counted on stderr.

    Args:
        images: files, folders, patterns, and - for a list on stdin.

    Raises:
        UsageError: one is no option and no file.
        DataError: there are none, or a folder or a list can't be read.
    """
    given = _Images(images, None)
    given.count()
    return [*given.paths()]


def _paths_on(lines: Iterable[bytes] | None, name: str) -> Iterator[Path]:
    """The paths on the lines that aren't empty; paths are bytes, whatever the encoding of the stream."""
    if lines is None:
        raise DataError("-: stdin is closed; give a list of paths on it, one a line")
    try:
        for line in lines:
            yield from (Path(os.fsdecode(path)) for path in line.splitlines() if path.strip())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        what = "stdin can't be read" if name == "-" else "can't be read"
        raise DataError(f"{name}: {what} ({reason}); give a list of paths") from None


def open_program(
    path: Path, host: "Host | str | None", download: bool, any_host: bool, device: str | None, display: Display
) -> "Reprogrammed":
    """Load a program with its host onto a device.

    Args:
        path: the program file.
        host: the host or its spec, where it isn't the one that the file names.
        download: whether weights that aren't here may be fetched.
        any_host: whether another host than the program was learned for is accepted, with a warning.
        device: the device, such as `cuda:1`; None for the best there is.
        display: prints the warnings.

    Raises:
        ProgramFileError: the file is damaged or refused.
        HostMismatchError: the program was learned for another host.
        HostUnavailableError: weights or packages of the host aren't here.
    """
    from reprogram.model import load
    from reprogram.utils.process import resolve_device

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model = load(path, host=host, download=download, any_host=any_host)
    for warning in caught:
        if warning.category is UserWarning:
            display.say(f"warning: {warning.message}")
    return model.to(resolve_device(device or "auto"))
