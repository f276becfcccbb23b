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
from reprogram.errors import DataError, ReprogramError
from reprogram.paper.setup import Planned
from reprogram.text import slug

PLACE = {"run", "host", "task", "seed", "axis", "meaning"}
"""What a plan says of each run."""
RESULT = frozenset({"test", "baselines", "images_seen"})
FACT = frozenset({"name", "of", "fact"})


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

    Attributes:
        gaps: what couldn't be measured, and why: a line each.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gaps: list[str] = []

    @property
    def runs(self) -> Path:
        """The folder of the run folders."""
        return self.folder / "runs"

    @property
    def is_empty(self) -> bool:
        """Whether no experiment was ever planned here."""
        return not any((self.folder / "plans").glob("*.json"))

    def write_plan(self, experiment: str, planned: Sequence[Planned]) -> int:
        """Keep which runs an experiment reads. Those of earlier calls stay where names mean the same.

        Returns:
            How many make way: another host, task or recipe has their names, and a table can't show both.
        """
        if not planned:
            return 0
        earlier = {row["run"]: row for row in self._plan(experiment)}
        new = {
            run.name: {
                "run": run.name,
                "host": run.host,
                "task": run.task,
                "seed": run.seed,
                "axis": run.axis,
                "meaning": run.meaning,
            }
            for run in planned
        }
        meant = {(row["host"], row["task"], str(row["axis"])): row["meaning"] for row in new.values()}
        stay = {}
        for name, row in earlier.items():
            if name in new or meant.get((row["host"], row["task"], str(row["axis"])), row["meaning"]) == row["meaning"]:
                stay[name] = new.get(name, row)
        write_atomic(self._plan_file(experiment), _json([*{**stay, **new}.values()]))
        return len(earlier) - len(stay)

    def rows(self, experiment: str) -> list[Row]:
        """The finished runs of an experiment, in the order of its plan."""
        found = []
        for row in self._plan(experiment):
            folder = self.runs / row["run"]
            if (folder / "result.json").exists():
                place = {key: row[key] for key in PLACE - {"run", "meaning"}}
                found.append(Row(**place, folder=folder, result=_read(folder / "result.json", RESULT)))
        return found

    def unfinished(self, experiment: str) -> list[str]:
        """The names of the runs that are planned and not finished."""
        runs = [row["run"] for row in self._plan(experiment)]
        return [run for run in runs if not (self.runs / run / "result.json").exists()]

    def fact(self, experiment: str, name: str, of: Any, measure: Callable[[], Any]) -> Any:
        """What was measured under that name; measured now, and kept, unless it is there for the same `of`.

        Args:
            experiment: whose fact it is.
            name: of the fact.
            of: what it is a function of, as JSON.
            measure: gives the fact, as JSON. Where it can't, as when a run was kept without its program, that is a
                gap, and an earlier fact stays.
        """
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        path = self.folder / "facts" / experiment / f"{slug(name)[-40:]}-{digest}.json"
        if path.exists():
            stored = _read(path, FACT)
            if stored["of"] == json.loads(json.dumps(of)):
                return stored["fact"]
        try:
            fact = json.loads(json.dumps(measure()))
        except ReprogramError as error:
            self.gaps.append(f"{experiment}: {name}: {error}")
            return None
        write_atomic(path, _json({"name": name, "of": of, "fact": fact}))
        return fact

    def facts(self, experiment: str) -> dict[str, Any]:
        """All facts of an experiment, by name."""
        files = sorted((self.folder / "facts" / experiment).glob("*.json"))
        return {stored["name"]: stored["fact"] for stored in (_read(path, FACT) for path in files)}

    def _plan_file(self, experiment: str) -> Path:
        return self.folder / "plans" / f"{experiment}.json"

    def _plan(self, experiment: str) -> list[dict[str, Any]]:
        path = self._plan_file(experiment)
        if not path.exists():
            return []
        found: list[dict[str, Any]] = _read(path)
        for row in found if isinstance(found, list) else ():
            if isinstance(row, dict):
                row.setdefault("meaning", "")  # Plans from before it was kept.
        whole = isinstance(found, list) and all(isinstance(row, dict) and set(row) >= PLACE for row in found)
        if not whole or not found:
            raise DataError(f"{path}: damaged (it names no runs); remove it and run the experiment again")
        return found


def _read(path: Path, keys: frozenset[str] = frozenset()) -> Any:
    """JSON, which has to be an object with these keys if there are any."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if keys and not (isinstance(found, dict) and set(found) >= keys):
            raise ValueError(f"it lacks {', '.join(sorted(keys))}")
    except (OSError, ValueError) as error:
        what = path if path.parent.parent.name == "facts" else path.parent
        raise DataError(f"{path}: damaged ({error}); remove {what} and run the experiment again") from None
    return found


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
