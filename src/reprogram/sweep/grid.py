"""Grid files: TOML whose lists are axes."""

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError, ReprogramError
from reprogram.registry import configure
from reprogram.runs.config import SPECS, UNNAMED, RunConfig, from_values, underscored
from reprogram.runs.earlier import DEFAULTS_0_1, as_written, note_on_0_1, of_version_0_1
from reprogram.sweep.cells import Cell
from reprogram.utils.text import slug
from reprogram.utils.toml import read_table

MAX_CELLS = 100_000
SAVED_EVERY = "5s"
"""The default of `checkpoint_every` in a grid: a worker on a shared machine may be lost at any time."""


def read_grid(
    path: str | Path, fixed: Mapping[str, Any] | None = None, *, say: Callable[[str], None] = lambda _: None
) -> list[Cell]:
    """The cells of a grid file.

    The file holds a table `[grid]`, or several of them, `[[grid]]`. Its keys are the options of `reprogram fit`; a list
    gives one cell for each of its values, two lists one for each pair, and so on. `baselines` and `track`, which are
    lists by themselves, take a list of lists.

    Args:
        path: the TOML file.
        fixed: options of every cell, which override the file's.
        say: called with a line about a file that was written for version 0.1.

    Returns:
        The cells, without folders (`placed` adds them). A name holds task, host, program, seed and a digest of all
        options that aren't at version 0.1's defaults, so a grid may grow and its cells keep their names.

    Raises:
        ConfigError: no grid, an unknown option or component, a wrong value, or two cells that are the same run.
    """
    path = Path(path)
    cells: dict[str, Cell] = {}
    combinations = _combinations(path)
    _check_fixed(path, combinations, fixed or {})
    for note in {note_on_0_1(values, str(path), fixed or {}): None for values in combinations}:
        if note is not None:
            say(note)
    older = any(map(of_version_0_1, combinations))  # All cells of a file have the same defaults.
    for values in combinations:
        try:
            whole = {"checkpoint_every": SAVED_EVERY, **as_written(values, older=older), **(fixed or {})}
            cell = _cell(from_values(whole, "grid"))
        except ReprogramError as error:
            raise ConfigError(f"{path}: {error}") from None
        if cell.name in cells:
            raise ConfigError(
                f"{path}: two cells are the same run, {cell.name}; leave one of them out, and no axis of what doesn't "
                "change the program, as baselines or device"
            )
        cells[cell.name] = cell
    _check_specs(path, cells)
    return list(cells.values())


def _check_fixed(path: Path, combinations: list[dict[str, Any]], fixed: Mapping[str, Any]) -> None:
    """Refuse an option of every cell that is an axis of the grid: its cells would be the same run."""
    for name in fixed:
        values = dict.fromkeys(str(cell[name]) for cell in combinations if name in cell)
        if len(values) > 1:
            axis = ", ".join(values)
            raise ConfigError(f"--{name}: is an axis of {path} ({axis}); leave the option out, or the axis")


def _combinations(path: Path) -> list[dict[str, Any]]:
    """The options of each cell: the product of the axes of each table."""
    combinations: list[dict[str, Any]] = []
    for table in _tables(path):
        axes = {}
        for name, value in underscored(table, str(path)).items():
            if name == "out":
                raise ConfigError(f"{path}: out={value!r}; the folder of a grid is given by --out")
            single = not isinstance(value, list) or (
                name in ("baselines", "track") and not any(isinstance(v, list) for v in value)
            )
            axes[name] = [value] if single else value
            if not axes[name]:
                raise ConfigError(f"{path}: {name} is an empty list; give it a value or leave it out")
        count = len(combinations) + math.prod(map(len, axes.values()))
        if count > MAX_CELLS:
            raise ConfigError(f"{path}: {count:,} cells; at most {MAX_CELLS:,} are allowed in a file, write several")
        combinations += [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    return combinations


def _tables(path: Path) -> list[dict[str, Any]]:
    """The tables `[grid]` or `[[grid]]` of a TOML file."""
    content = read_table(path, "give a TOML file with a table [grid]")
    tables = content.get("grid")
    tables = [tables] if isinstance(tables, dict) else tables
    if set(content) != {"grid"} or not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        shown = ", ".join(sorted(content)[:5]) or "nothing"
        raise ConfigError(f"{path}: expected a table [grid], or several [[grid]], and nothing else; found {shown}")
    if not tables:
        raise ConfigError(f"{path}: no table [grid]; write one")
    return tables


def _cell(config: RunConfig) -> Cell:
    """A cell whose name stays when an option gets further values or another default, or when there is a new option."""
    defaults = RunConfig(**DEFAULTS_0_1).stored()
    named = config.stored(skip=UNNAMED - {"data"})  # Where the data lie was a part of names from the beginning.
    changed = {name: value for name, value in named.items() if value != defaults[name]}
    digest = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()
    words = (slug(text)[:32] for text in (config.task, config.host, config.program))
    return Cell("-".join([*words, f"s{config.seed}", digest[:8]]), config)


def _check_specs(path: Path, cells: dict[str, Cell]) -> None:
    """Refuse a misspelt component now, not after hours."""
    for option, family in SPECS.items():
        for spec in {getattr(cell.config, option): None for cell in cells.values()}:
            try:
                configure(family, spec)
            except ConfigError as error:
                raise ConfigError(f"{path}: {option}: {error}") from None
