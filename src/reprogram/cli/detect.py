"""`reprogram detect`: read a log of queries, and say which look like a program."""

import csv
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

from cyclopts import Parameter

from reprogram.cli._completers import components
from reprogram.cli.console import Common, Display, Whole, emit
from reprogram.cli.predict import image_paths
from reprogram.errors import ConfigError, DataError
from reprogram.utils.files import require_writable, user_path
from reprogram.utils.process import start_torch
from reprogram.utils.text import as_utf8, printable

if TYPE_CHECKING:
    from reprogram.detectors.base import Detector, Query
    from reprogram.hosts.base import Host

ALARMED = 10
"""The exit code of --fail-on-alarm."""

FALSE_POSITIVES = 0.001
"""The default of --false-positives."""

ACCOUNTS_PER_QUERY = 0.01
"""Made-up traffic has an account for a hundred queries."""


def detect_command(
    *queries: Annotated[str, Parameter(allow_leading_hyphen=True)],
    detector: Annotated[str, Parameter(completer=components("detectors"))] = "repeated-border",
    host: Annotated[str | None, Parameter(completer=components("hosts"))] = None,
    account: str = "",
    benign: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    benign_queries: Whole | None = None,
    false_positives: float | None = None,
    state: Path | None = None,
    fail_on_alarm: Annotated[bool, Parameter(negative=())] = False,
    download: bool = False,
    common: Common | None = None,
) -> int:
    """Read queries in their order, and name those for which a detector's alarm rings.

    Images that can't be read are named on stderr; the others are read all the same, and the exit code is 3.

    Args:
        queries: image files, folders, and logs: CSV files with the columns `file` and `account`, in the order of the
            queries; their paths count from the log's folder.
        detector: a detector's spec, or the file that --state wrote.
        host: images are brought to its size, and it is asked for its answers where the detector reads them.
        account: who sent the images that no log names.
        benign: queries that the threshold is set from: files, folders and logs.
        benign_queries: make so many benign queries of the photographs that --benign names, of many accounts: also
            letterboxes, frames, films, thumbnails and retries.
        false_positives: the share of benign queries for which the alarm may ring; 0.001 by default.
        state: go on from this file if it exists, and write what the detector remembers to it in the end.
        fail_on_alarm: end with exit code 10 if the alarm rang.
        download: allow fetching the host's weights.
        common: options of every verb.
    """
    common = common or Common()
    reader = _detector(detector, state)
    if state is not None:
        require_writable(user_path(state).parent, "--state")
    elif not queries:
        taken = "; --benign takes all names behind it, so give them before it" if benign else ""
        raise DataError(f"no queries; give image files, folders, or logs (CSV files){taken}")
    if not benign:
        _need_no_benign(benign_queries, false_positives)
    asked = None
    if host is None and reader.reads != "image":
        raise ConfigError(f"{reader.name()}: reads the host's {reader.reads}; give --host")
    if host is not None:
        _check_threshold(reader, benign)
        start_torch(common.threads)
        asked = _host(host, download, common.device)
    failures: list[str] = []
    if benign:
        made = _made(benign, benign_queries, asked) if benign_queries is not None else _read(benign, "", failures)
        rate = FALSE_POSITIVES if false_positives is None else false_positives
        _calibrate(reader, (query for _, query in _answered(made, reader, asked, failures)), rate)
        Display(common.quiet).say(f"threshold {reader.threshold:g} from {reader.num_calibrated:,} benign queries")
    found = []
    for path, query in _answered(_read(queries, account, failures), reader, asked, failures):
        verdict = reader.observe(query.image, query.account, query.answer)
        found.append({"image": path, "account": query.account, "score": verdict.score, "alarm": verdict.alarm})
        if verdict.alarm and not common.json:
            sender = f" of {query.account}" if query.account else ""
            print(printable(f"alarm: {path}{sender}: {verdict.score:.4g} is above {reader.threshold:.4g}"), flush=True)
    if state is not None:
        user_path(state).parent.mkdir(parents=True, exist_ok=True)
        reader.save(state)
    return _conclude(reader, found, failures, fail_on_alarm, common.json)


def _conclude(
    reader: "Detector", found: list[dict[str, Any]], failures: list[str], fail_on_alarm: bool, as_json: bool
) -> int:
    """Print what was found; returns the exit code."""
    alarms = [row for row in found if row["alarm"]]
    if as_json:
        told = {"detector": reader.name(), "threshold": reader.threshold, "queries": found, "alarms": len(alarms)}
        emit({**told, "unread": [as_utf8(error) for error in failures]})
    else:
        print(f"alarms: {len(alarms):,} of {len(found):,} queries, by {_senders(alarms)} of {_senders(found)} accounts")
    return ALARMED if fail_on_alarm and alarms else DataError.exit_code if failures else 0


def _need_no_benign(benign_queries: int | None, false_positives: float | None) -> None:
    """Refuse options that say something of benign queries, where none are named."""
    if benign_queries is not None:
        raise ConfigError("--benign-queries makes queries of photographs; name their folder with --benign")
    if false_positives is not None:
        raise ConfigError("--false-positives is a share of benign queries; name them with --benign")


def _senders(rows: list[dict[str, Any]]) -> str:
    """How many accounts sent some queries."""
    return f"{len({row['account'] for row in rows}):,}"


def _detector(spec: str, state: Path | None) -> "Detector":
    """The detector of a spec or file, or where the state's file is there, the same one as it was left."""
    from reprogram.detectors._detect import continued, load_detector

    reader = load_detector(spec)
    return reader if state is None else continued(reader, state)


def _calibrate(reader: "Detector", queries: "Iterable[Query]", rate: float) -> None:
    """Set the threshold; accounts stay remembered, unless what is known of them belongs to what was learned before."""
    state, accounts = reader.state_dict(), reader.accounts()
    reader.calibrate(queries, rate)
    if not reader.fits:
        reader.load_state_dict(state, accounts)


def _check_threshold(reader: "Detector", benign: list[str] | None) -> None:
    """Refuse a detector that can ring for nothing yet, before a host is loaded."""
    if not benign and (reader.threshold is None or (reader.fits and not reader.num_calibrated)):
        raise ConfigError(f"{reader.name()}: has to see benign queries first; name them with --benign")


def _host(spec: str, download: bool, device: str | None) -> "Host":
    from reprogram.hosts._factory import load_host
    from reprogram.utils.process import resolve_device

    return load_host(spec, download=download).to(resolve_device(device or "auto"))


def _read(names: Iterable[str], account: str, failures: list[str]) -> Iterator[tuple[str, str, Any]]:
    """Path, account and picture of each query that files, folders and logs name, in order."""
    from reprogram.utils import images

    for name in names:
        listed = (
            _log(user_path(name))
            if name.lower().endswith(".csv")
            else ((path, account) for path in image_paths((name,)))
        )
        for path, sender in listed:
            try:
                if isinstance(path, DataError):
                    raise path
                if path.is_dir():
                    raise DataError(f"{path}: is a folder; a line of a log names an image")
                yield as_utf8(str(path)), sender, images.read(path)
            except DataError as error:
                _tell(str(error), failures)


def _tell(error: str, failures: list[str]) -> None:
    """Name what can't be read; the rest is read all the same."""
    failures.append(error)
    print(f"reprogram: {printable(error)}", file=sys.stderr)


def _log(path: Path) -> Iterator[tuple[Path | DataError, str]]:
    """File and account of each line of a log, or what is wrong with the line; an empty line is none."""
    try:
        # Names come from strangers: bytes that aren't UTF-8 stay what they are.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            lines = _Counted(file)
            rows = csv.DictReader(lines, skipinitialspace=True)
            names = rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
            if "file" not in names:
                raise DataError(f"{path}: no column `file`; the first line names the columns file and account")
            if len(set(names)) < len(names):
                raise DataError(f"{path}: the first line names a column twice; name each once")
            for row in _rows(rows):
                where = f"{path}, line {lines.read}"
                if isinstance(row, csv.Error):
                    yield DataError(f"{where}: can't be read ({row}); it is left out"), ""
                elif None in row:
                    yield DataError(f"{where}: more fields than columns; put a field with a comma in quotes"), ""
                elif not (row["file"] or "").strip():
                    yield DataError(f"{where}: no file; give the path of an image"), ""
                else:
                    yield path.parent / row["file"], (row.get("account") or "").strip()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error}); give a CSV file") from None
    except csv.Error as error:
        raise DataError(
            f"{path}: is no CSV file ({error}); the first line names the columns file and account"
        ) from None


class _Counted(Iterator[str]):
    """The lines of a file, and how many were read; csv's own count leaves out those that it can't read."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.read = file, 0

    def __next__(self) -> str:
        line = next(self.file)
        self.read += 1
        return line


def _rows(rows: "csv.DictReader[str]") -> Iterator[dict[str | None, Any] | csv.Error]:
    """The lines of a log, and what is wrong with those that can't be read, such as for a name that is too long."""
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield error


def _made(folders: list[str], number: int, host: "Host | None") -> Iterator[tuple[str, str, Any]]:
    """Benign queries made of photographs, of the host's size."""
    from PIL import Image

    from reprogram.evaluation.traffic import as_photographs, benign
    from reprogram.utils import images

    photos = as_photographs([images.read(path) for path in image_paths(tuple(folders))])
    size = 224 if host is None else max(host.info.shape[1:])
    for query in benign(photos, queries=number, accounts=max(1, round(ACCOUNTS_PER_QUERY * number)), size=size):
        fits = host is None or query.image.shape == host.info.shape
        yield "", query.account, query.image if fits else Image.fromarray(query.image.transpose(1, 2, 0))


def _answered(
    sent: Iterable[tuple[str, str, Any]], reader: "Detector", host: "Host | None", failures: list[str]
) -> Iterator[tuple[str, "Query"]]:
    """The queries as a detector reads them: of the host's size, and with its answers where the detector wants them."""
    import numpy as np

    from reprogram.detectors._checks import checked_image
    from reprogram.detectors._detect import host_answers
    from reprogram.detectors.base import Query
    from reprogram.utils import images

    for path, account, picture in sent:
        if isinstance(picture, np.ndarray):
            pixels = picture
        elif host is None:
            pixels = np.asarray(images.to_tensor(picture, 1 if picture.mode == "L" else 3))
        else:
            channels, height, width = host.info.shape
            pixels = np.asarray(images.to_tensor(images.fit(picture, height, width), channels))
        try:
            checked_image(pixels)
        except DataError as error:
            _tell(f"{path}: {error}", failures)
            continue
        answer = None if host is None or reader.reads == "image" else host_answers(host, reader.reads, pixels[None])[0]
        yield path, Query(image=pixels, account=account, answer=answer)
