"""`reprogram pull`: fetch a program from the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reprogram.cli.console import emit


def pull_command(
    repo: str, /, *, out: Path | None = None, json: Annotated[bool, Parameter(negative=())] = False
) -> int:
    """Fetch the program of a repository, check it as every stranger's file, and write it here.

    Args:
        repo: OWNER/NAME, or OWNER/NAME@REVISION for a branch, a tag or a commit.
        out: the file to write (default: NAME.safetensors).
        json: print the result as JSON.
    """
    from reprogram.programfile.file import read
    from reprogram.programfile.share import pull

    path = pull(repo, out)
    if json:
        emit({"program": str(path), "digest": read(path).header.digest})
    else:
        print(path)
    return 0
