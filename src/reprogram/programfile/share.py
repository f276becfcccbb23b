"""Programs handed on: `push` to the Hugging Face Hub and `pull` from it."""

from collections.abc import Callable
from pathlib import Path

from reprogram.errors import ConfigError
from reprogram.programfile.card import folder_of
from reprogram.programfile.file import read
from reprogram.programfile.hub import Repo, endpoint, fetch, upload
from reprogram.utils.arguments import checked
from reprogram.utils.files import exists, read_ordinary, user_path, write_atomic


@checked
def push(
    program: str | Path,
    repo: str,
    *,
    public: bool = False,
    licence: str = "",
    host_licence: str = "",
    task_licence: str = "",
    dry_run: bool = False,
    say: Callable[[str], None] = print,
) -> str:
    """Send a program to the Hugging Face Hub: its file, a model card, `config.json` and two pictures; nothing else.

    The Hub is `HF_ENDPOINT`, or huggingface.co; its client's own login or `HF_TOKEN` is used. Where it isn't this
    machine, `reprogram.authorise` has to name it first.

    Args:
        program: the program file, or a run's folder, whose result the card then tells.
        repo: `owner/name`, or `owner/name@branch`; both are made where they are missing.
        public: whether everybody sees a new repository.
        licence: of the program, as the Hub names licences, such as `apache-2.0`.
        host_licence: of the host's weights; by default what the host's source says.
        task_licence: of the task's images.
        dry_run: whether to say what would be sent, and to send nothing.
        say: called with a line for each file that is sent, and where to, before anything is.

    Returns:
        The commit's URL; empty for a dry run.

    Raises:
        ProgramFileError: the program file is refused.
        ConfigError: the repository's name is none, or nobody said that the Hub may be sent to.
        WriteError: the Hub refuses it, or can't be reached.
    """
    target = Repo.parse(repo)
    files = folder_of(
        user_path(program, "program"),
        repo=target.id,
        licence=licence,
        host_licence=host_licence,
        task_licence=task_licence,
    )
    kind = "public" if public else "private"
    say(f"{'would send' if dry_run else 'sending'} to {endpoint()}/{target.id}, {kind} if new, {target.revision}:")
    for name, raw in files.items():
        say(f"  {name}, {len(raw):,} bytes")
    if dry_run:
        return ""
    return upload(target, files, private=not public, message=f"Add program {read_digest(files)}")


def read_digest(files: dict[str, bytes]) -> str:
    """The first characters of the digest in a folder's card.

    Args:
        files: as `folder_of` returns them.
    """
    text = files["README.md"].decode()
    return text.partition("\n- digest: ")[2][:16]


@checked
def pull(repo: str, out: str | Path | None = None, *, download: bool = True) -> Path:
    """Fetch a program from the Hugging Face Hub, and check it as every stranger's file.

    Args:
        repo: `owner/name` or `owner/name@revision`, also with `hub:` before it.
        out: the file to write; by default NAME.safetensors in the current folder.
        download: whether to ask the Hub; otherwise its cache on this machine alone.

    Returns:
        The file.

    Raises:
        ProgramFileError: it can't be fetched, or is refused; nothing is written then.
        ConfigError: the repository's name is none, or the file is there already and holds something else.
    """
    source = Repo.parse(repo)
    cached = fetch(source, download=download)
    checked = read(cached)
    path = user_path(out, "out") if out is not None else Path(f"{source.id.rpartition('/')[2]}.safetensors")
    raw = cached.read_bytes()
    if exists(path) and (not path.is_file() or read_ordinary(path) != raw):
        raise ConfigError(f"{path}: is there already, and is another file; choose another --out")
    assert len(raw) == checked.num_bytes
    return write_atomic(path, raw)
