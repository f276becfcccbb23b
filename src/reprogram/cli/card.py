"""`reprogram card`: write the folder that a program is shared as."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reprogram.cli.console import emit


def card_command(
    program: Path,
    /,
    *,
    out: Path,
    repo: str = "",
    licence: str = "",
    host_licence: str = "",
    task_licence: str = "",
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Write the folder that push sends: program, model card, config.json and two pictures; no network is needed.

    Args:
        program: the program file, or the run's folder, whose result the card then tells.
        out: the folder to write.
        repo: OWNER/NAME, for the card's commands.
        licence: of the program, as the Hub names licences, such as apache-2.0.
        host_licence: of the host's weights (default: what the host's source says).
        task_licence: of the task's images.
        json: print the result as JSON.
    """
    from reprogram.programfile.card import folder_of
    from reprogram.programfile.hub import Repo
    from reprogram.programfile.shared_folder import write_folder

    name = Repo.parse(repo).id if repo else ""
    files = folder_of(program, repo=name, licence=licence, host_licence=host_licence, task_licence=task_licence)
    folder = write_folder(out, files)
    if json:
        emit({"folder": str(folder), "files": sorted(files)})
    else:
        print(folder)
    return 0
