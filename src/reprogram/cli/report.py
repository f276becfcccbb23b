"""`reprogram report`: write a finished run's report anew, or one page of several runs."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reprogram.cli._comparing import comparison_table, histories_of
from reprogram.cli.console import emit
from reprogram.errors import ConfigError


def report_command(
    run: Path, /, *runs: Path, out: Path | None = None, json: Annotated[bool, Parameter(negative=())] = False
) -> int:
    """Write report.html into a finished run's folder, from its result; of several runs, one page with all of them.

    Args:
        run: the run folder.
        runs: further run folders.
        out: the page of several runs (default: comparison.html in the folder that the first one lies in).
        json: print where it is as JSON.
    """
    if not runs and out is not None:
        raise ConfigError("report --out: is for several runs; the report of one is report.html in its folder")
    path = _page((run, *runs), out) if runs else _report(run)
    if json:
        emit({"report": str(path)})
    else:
        print(path)
    return 0


def _report(run: Path) -> Path:
    from reprogram.report.page import write_report

    return write_report(run)


def _page(runs: tuple[Path, ...], out: Path | None) -> Path:
    """The page of several runs."""
    from reprogram.report.comparison import write_page
    from reprogram.runs.folder import RunFolder
    from reprogram.runs.record import describe
    from reprogram.utils.files import exists

    folders = [RunFolder(run) for run in runs]
    for folder in folders:
        if not exists(folder.config):
            raise ConfigError(f"{folder.path}: holds no run; config.toml is missing")
    heads, rows = comparison_table([describe(folder) for folder in folders], folders)
    return write_page(out or runs[0].absolute().parent / "comparison.html", heads, rows, histories_of(folders))
