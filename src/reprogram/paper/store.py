"""The results of experiments: their runs' results and the measurements on them, as plain JSON in one folder.

OUT/runs/NAME/            the run folders, with result.json and the program
OUT/plans/EXPERIMENT.json the runs that the experiment reads, and their positions in its tables
OUT/facts/EXPERIMENT/*    the measurements beyond the runs' own results, one a file
"""

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprogram.errors import DataError, FolderInUseError, ReprogramError
from reprogram.paper.plan import Planned
from reprogram.utils.files import write_atomic
from reprogram.utils.lock import locked
from reprogram.utils.text import slug

PLAN_KEYS = {"run", "host", "task", "seed", "axis", "meaning"}
"""The keys of each run in a plan's file."""
RESULT_KEYS = frozenset({"test", "baselines", "images_seen"})
"""The keys that a run's `result.json` must have."""
FACT_KEYS = frozenset({"name", "of", "fact"})
"""The keys of a measurement's file."""
PATIENCE = 100
"""How often a plan is tried that another process is writing."""
LONGEST = 200
"""The most characters of a measurement's name that its file is called by; file systems take 255."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A finished run and its position in an experiment's tables.

    Attributes:
        host: the host's short name.
        task: the task's short name.
        seed: the run's seed.
        axis: the values that the experiment varied, by name.
        folder: the run folder.
        result: the content of its `result.json`.
        host_meaning: digest of the spec that the host's name stood for; empty in plans of earlier versions, and where
            the experiment builds the host for the task.
    """

    host: str
    task: str
    seed: int
    axis: dict[str, Any]
    folder: Path
    result: dict[str, Any]
    host_meaning: str = ""

    @property
    def accuracy(self) -> float:
        """The accuracy on the test split."""
        return float(self.result["test"]["accuracy"])

    @functools.cached_property
    def program(self) -> Path:
        """The learned program's file."""
        return self.folder / "program.safetensors"


class ResultStore:
    """Reads and writes an output folder.

    Args:
        folder: the output folder of all experiments.

    Attributes:
        missing: a line for each measurement that couldn't be made, with the reason.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.missing: list[str] = []

    @property
    def runs(self) -> Path:
        """The folder of the run folders."""
        return self.folder / "runs"

    @property
    def is_empty(self) -> bool:
        """Whether no experiment was ever planned here."""
        return not any((self.folder / "plans").glob("*.json"))

    def write_plan(self, experiment: str, planned: Sequence[Planned]) -> int:
        """Store the runs that an experiment reads; runs of earlier plans stay if their names mean the same as now.

        A run that stands in the same place of a table with the same seed takes the earlier one's place.

        Args:
            experiment: the experiment's name.
            planned: its runs; the stored plan stays as it is if there are none.

        Returns:
            The number of earlier runs that leave the plan: another host, task or recipe has their names now, and a
            table can't show both.
        """
        if not planned:
            return 0
        new = {
            run.name: {
                "run": run.name,
                "host": run.host,
                "task": run.task,
                "seed": run.seed,
                "axis": run.axis,
                "meaning": run.digest,
                "host_meaning": run.host_digest,
            }
            for run in planned
        }
        path = self._plan_file(experiment)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _held(path.with_suffix(".lock")):
            earlier = {row["run"]: row for row in self._plan(experiment)}
            remaining = {name: row for name, row in earlier.items() if name in new or not _replaced(row, new)}
            for name, row in new.items():
                if not (name in earlier and earlier[name].items() <= row.items()):  # Earlier versions wrote less.
                    remaining[name] = row
            write_atomic(path, _json([*remaining.values()]))
        return len(earlier.keys() - remaining.keys())

    def rows(self, experiment: str) -> list[Row]:
        """The finished runs of an experiment, in the order of its plan.

        Args:
            experiment: the experiment's name.

        Raises:
            DataError: the plan or a result is damaged.
        """
        rows = []
        for row in self._plan(experiment):
            folder = self.runs / row["run"]
            if (folder / "result.json").exists():
                position = {key: row[key] for key in PLAN_KEYS - {"run", "meaning"}}
                meaning, result = row.get("host_meaning", ""), _read(folder / "result.json", RESULT_KEYS)
                rows.append(Row(**position, folder=folder, result=result, host_meaning=meaning))
        return rows

    def unfinished(self, experiment: str) -> list[str]:
        """The names of the runs that are planned and not finished.

        Args:
            experiment: the experiment's name.
        """
        runs = [row["run"] for row in self._plan(experiment)]
        return [run for run in runs if not (self.runs / run / "result.json").exists()]

    def measurement(self, experiment: str, name: str, of: Any, measure: Callable[[], Any]) -> Any:
        """A measurement by its name: the stored one if it was made of the same `of`, else a new one, which is stored.

        Args:
            experiment: the experiment's name.
            name: the measurement's name.
            of: the inputs of which the measurement is a function, as JSON.
            measure: makes the measurement, as JSON. Where it raises a `ReprogramError`, for example because a run was
                stored without its program, a line is added to `missing` and an earlier measurement stays.

        Returns:
            The measurement, None where it couldn't be made.
        """
        path, former = self._fact_files(experiment, name)
        for existing in filter(Path.exists, (path, former)):
            stored = _read(existing, FACT_KEYS)
            if stored["of"] == json.loads(json.dumps(of)):
                return stored["fact"]
        try:
            fact = json.loads(json.dumps(measure()))
        except ReprogramError as error:
            self.missing.append(f"{experiment}: {name}: {error}")
            return None
        write_atomic(path, _json({"name": name, "of": of, "fact": fact}))
        if former != path:
            former.unlink(missing_ok=True)
        return fact

    def facts(self, experiment: str) -> dict[str, Any]:
        """All measurements of an experiment, by name.

        Args:
            experiment: the experiment's name.

        Raises:
            DataError: a measurement's file is damaged.
        """
        return {name: fact for name, (_, fact) in self.measured(experiment).items()}

    def measured(self, experiment: str) -> dict[str, tuple[Any, Any]]:
        """All measurements of an experiment, by name, each behind the inputs that it was made of.

        Args:
            experiment: the experiment's name.

        Raises:
            DataError: a measurement's file is damaged.
        """
        facts: dict[str, tuple[Any, Any]] = {}
        for path in sorted((self.folder / "facts" / experiment).glob("*.json")):
            stored = _read(path, FACT_KEYS)
            # Where there is a file by today's name too, that one is younger.
            if stored["name"] not in facts or path == self._fact_files(experiment, stored["name"])[0]:
                facts[stored["name"]] = stored["of"], stored["fact"]
        return facts

    def _fact_files(self, experiment: str, name: str) -> tuple[Path, Path]:
        """A measurement's file, and the one of earlier versions, which were called by the end of the name alone."""
        folder, digest = self.folder / "facts" / experiment, hashlib.sha256(name.encode()).hexdigest()[:8]
        return folder / f"{slug(name)[:LONGEST]}-{digest}.json", folder / f"{slug(name)[-40:]}-{digest}.json"

    def _plan_file(self, experiment: str) -> Path:
        return self.folder / "plans" / f"{experiment}.json"

    def _plan(self, experiment: str) -> list[dict[str, Any]]:
        """The stored plan, a dict with `PLAN_KEYS` for each run; empty where nothing was planned."""
        path = self._plan_file(experiment)
        if not path.exists():
            return []
        rows: list[dict[str, Any]] = _read(path)
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict):
                row.setdefault("meaning", "")  # Plans of early versions don't have it.
        whole = isinstance(rows, list) and all(isinstance(row, dict) and set(row) >= PLAN_KEYS for row in rows)
        if not whole or not rows:
            raise DataError(f"{path}: damaged (it names no runs); remove it and run the experiment again")
        return rows


def _replaced(row: dict[str, Any], new: dict[str, dict[str, Any]]) -> bool:
    """Whether an earlier run of a plan can't stand beside the new ones.

    Its host's name, or its task's on that host, means something else by now; or a new run has its place and its seed.
    """
    for other in new.values():
        if other["host"] != row["host"]:
            continue
        meanings = other["host_meaning"], row.get("host_meaning")
        if all(meanings) and meanings[0] != meanings[1]:
            return True
        if other["task"] == row["task"] and (
            other["meaning"] != row["meaning"] or (other["axis"], other["seed"]) == (row["axis"], row["seed"])
        ):
            return True
    return False


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """A block that one process at a time is in; the others wait, since each leaves it in a moment."""
    with contextlib.ExitStack() as stack:
        for tries_left in reversed(range(PATIENCE)):
            try:
                stack.enter_context(locked(path))
                break
            except FolderInUseError:
                if not tries_left:
                    raise
        yield


def _read(path: Path, keys: frozenset[str] = frozenset()) -> Any:
    """A file's JSON; where `keys` are given, it has to be an object that has them."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if keys and not (isinstance(value, dict) and set(value) >= keys):
            raise ValueError(f"it lacks {', '.join(sorted(keys))}")
    except (OSError, ValueError) as error:
        damaged = path.parent if path.parent.parent.name == "runs" else path
        raise DataError(f"{path}: damaged ({error}); remove {damaged} and run the experiment again") from None
    return value


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
