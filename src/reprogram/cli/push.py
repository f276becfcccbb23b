"""`reprogram push`: send a program to the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reprogram.cli.console import Display, emit
from reprogram.hosts._consent import authorise


def push_command(
    program: Path,
    repo: str,
    /,
    *,
    public: bool = False,
    licence: str = "",
    host_licence: str = "",
    task_licence: str = "",
    dry_run: bool = False,
    json: Annotated[bool, Parameter(negative=())] = False,
    quiet: Annotated[bool, Parameter(negative=())] = False,
    i_am_authorised: Annotated[list[str] | None, Parameter(negative=(), show_env_var=False)] = None,
) -> int:
    """Send a program's file, its model card and two pictures to a repository of the Hub; nothing else is sent.

    What is sent, and where, is said before. Hosts elsewhere need --i-am-authorised HOST, such as huggingface.co.

    Args:
        program: the program file, or the run's folder, whose result the card then tells.
        repo: OWNER/NAME or OWNER/NAME@BRANCH; made where it is missing.
        public: let everybody see a new repository.
        licence: of the program, as the Hub names licences, such as apache-2.0.
        host_licence: of the host's weights (default: what the host's source says).
        task_licence: of the task's images.
        dry_run: say what would be sent, and send nothing.
        json: print the result as JSON.
        quiet: don't say what is sent.
        i_am_authorised: exact name of the Hub that you are allowed to send to; at each start, never from a file or the
            environment.
    """
    authorise(*i_am_authorised or ())
    from reprogram.programfile.share import push

    url = push(
        program,
        repo,
        public=public,
        licence=licence,
        host_licence=host_licence,
        task_licence=task_licence,
        dry_run=dry_run,
        say=Display(quiet).say,
    )
    if json:
        emit({"url": url})
    elif url:
        print(url)
    return 0
