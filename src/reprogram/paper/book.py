"""What an experiment found: its runs' results and the facts measured on them, as plain JSON in one folder.

OUT/runs/NAME/            the run folders, with result.json and the program
OUT/plans/EXPERIMENT.json which runs the experiment reads, and where they stand in its tables
OUT/facts/EXPERIMENT/*    what was measured beyond the runs' own results, a file each
"""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprogram.checkpoint import write_atomic
from reprogram.errors import DataError
from reprogram.paper.setup import Planned
from reprogram.text import slug

PLACE = {"run", "host", "task", "seed", "axis"}
"""What a plan says of each run."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A finished run and where it stands.

    Attributes:
        host: its short name.
        task: its spec.
        seed: of the run.
        axis: what the experiment varied.
        folder: of the run.
        result: its `result.json`.
    """

    host: str
    task: str
    seed: int
    axis: dict[str, Any]
    folder: Path
    result: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """On the test split."""
        return float(self.result["test"]["accuracy"])

    @functools.cached_property
    def program(self) -> Path:
        """The learned program's file."""
        return self.folder / "program.safetensors"


class Book:
    """Reads and writes an output folder.

    Args:
        folder: of all experiments.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def runs(self) -> Path:
        """The folder of the run folders."""
        return self.folder / "runs"

    @property
    def is_empty(self) -> bool:
        """Whether no experiment was ever planned here."""
        return not any((self.folder / "plans").glob("*.json"))

    def write_plan(self, experiment: str, planned: Sequence[Planned]) -> None:
        """Keep which runs an experiment reads; those of earlier calls stay."""
        if not planned:
            return
        rows = {row["run"]: row for row in self._plan(experiment)}
        for run in planned:
            rows[run.name] = {"run": run.name, "host": run.host, "task": run.task, "seed": run.seed, "axis": run.axis}
        write_atomic(self._plan_file(experiment), _json(list(rows.values())))

    def rows(self, experiment: str) -> list[Row]:
        """The finished runs of an experiment, in the order of its plan."""
        found = []
        for row in self._plan(experiment):
            folder = self.runs / row["run"]
            if (folder / "result.json").exists():
                place = {key: row[key] for key in PLACE - {"run"}}
                found.append(Row(**place, folder=folder, result=_read(folder / "result.json")))
        return found

    def fact(self, experiment: str, name: str, of: Any, measure: Callable[[], Any]) -> Any:
        """What was measured under that name; measured now, and kept, unless it is there for the same `of`.

        Args:
            experiment: whose fact it is.
            name: of the fact.
            of: what it is a function of, as JSON.
            measure: gives the fact, as JSON.
        """
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        path = self.folder / "facts" / experiment / f"{slug(name)[-40:]}-{digest}.json"
        if path.exists():
            stored = _read(path)
            if stored["of"] == json.loads(json.dumps(of)):
                return stored["fact"]
        fact = json.loads(json.dumps(measure()))
        write_atomic(path, _json({"name": name, "of": of, "fact": fact}))
        return fact

    def facts(self, experiment: str) -> dict[str, Any]:
        """All facts of an experiment, by name."""
        files = sorted((self.folder / "facts" / experiment).glob("*.json"))
        return {stored["name"]: stored["fact"] for stored in map(_read, files)}

    def _plan_file(self, experiment: str) -> Path:
        return self.folder / "plans" / f"{experiment}.json"

    def _plan(self, experiment: str) -> list[dict[str, Any]]:
        path = self._plan_file(experiment)
        if not path.exists():
            return []
        found: list[dict[str, Any]] = _read(path)
        whole = isinstance(found, list) and all(isinstance(row, dict) and set(row) >= PLACE for row in found)
        if not whole or not found:
            raise DataError(f"{path}: damaged (it names no runs); remove it and run the experiment again")
        return found


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: damaged ({error}); remove it and run the experiment again") from None


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
