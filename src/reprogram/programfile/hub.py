"""Programs on the Hugging Face Hub: `hub:REPO[@REV]` stands for the file `program.safetensors` of a model repository.

What comes from there is a stranger's: the one file is fetched, nothing else of the repository is opened, and it is
read with the checks of every program file. Nothing is sent to another machine without the user's word.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError, ProgramFileError, ReprogramError, WriteError
from reprogram.hosts._consent import check_encrypted, checked_url
from reprogram.programfile.format import MAX_FILE
from reprogram.utils.text import printable

PREFIX = "hub:"
FILE = "program.safetensors"
"""The name of the program file in a repository."""
USUAL_ENDPOINT = "https://huggingface.co"
TIMEOUT_S = 10.0
"""Seconds that the Hub has for saying how large a file is."""
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_SPEC = re.compile(rf"({_NAME}/{_NAME})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{{0,200}}))?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Repo:
    """A repository of the Hub at a revision.

    Attributes:
        id: `owner/name`.
        revision: a branch, a tag or a commit.
    """

    id: str
    revision: str = "main"

    @classmethod
    def parse(cls, text: str) -> "Repo":
        """The repository that `[hub:]OWNER/NAME[@REV]` names.

        Args:
            text: the name.

        Raises:
            ConfigError: it is no such name.
        """
        match = _SPEC.fullmatch(text.removeprefix(PREFIX))
        if match is None or ".." in text or "--" in match[1]:
            raise ConfigError(
                f"{printable(text)[:200]}: is no repository; OWNER/NAME or OWNER/NAME@REVISION is expected"
            )
        return cls(id=match[1], revision=match[2] or "main")

    def __str__(self) -> str:
        return f"{PREFIX}{self.id}" + ("" if self.revision == "main" else f"@{self.revision}")


def endpoint() -> str:
    """The Hub's URL: `HF_ENDPOINT`, or huggingface.co."""
    return os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or USUAL_ENDPOINT


def located(path: Path, *, download: bool = False) -> Path:
    """The file that a path stands for: `hub:REPO[@REV]` is the program of a repository, every other path itself.

    Args:
        path: a path as users give it.
        download: whether the program may be fetched.

    Raises:
        ProgramFileError: it isn't here, or can't be fetched.
        ConfigError: the repository's name is none.
    """
    if not str(path).startswith(PREFIX) or os.path.lexists(path):
        return path
    return fetch(Repo.parse(str(path)), download=download)


def fetch(repo: Repo, *, download: bool) -> Path:
    """The program file of a repository, in the Hub's cache on this machine.

    Args:
        repo: the repository.
        download: whether it may be fetched, and looked whether the revision has moved.

    Returns:
        An ordinary file; it isn't checked yet.

    Raises:
        ProgramFileError: it isn't here, can't be fetched, or is too large.
    """
    with _client(f"{repo}", ProgramFileError) as hub:
        if download:
            url = hub.hf_hub_url(repo.id, FILE, revision=repo.revision, endpoint=endpoint())
            known = hub.get_hf_file_metadata(url, timeout=TIMEOUT_S)
            _check(repo, known)
        try:
            path = hub.hf_hub_download(
                repo.id, FILE, revision=repo.revision, endpoint=endpoint(), local_files_only=not download
            )
        except hub.errors.LocalEntryNotFoundError:
            if download:
                raise
            raise ProgramFileError(
                f"isn't on this machine; reprogram pull {repo.id} fetches it, as does a verb's --download"
            ) from None
        # The cache keeps names that are links to its own files.
        real, cache = Path(path).resolve(), Path(hub.constants.HF_HUB_CACHE).resolve()
        if not real.is_relative_to(cache):
            raise ProgramFileError("the Hub's cache leads out of itself; remove the repository from it")
        return real


def _check(repo: Repo, known: Any) -> None:
    """Refuse a file by what the Hub says of it, before it is fetched: its size, and names that the cache would use."""
    if known.size is None or known.size > MAX_FILE:
        raise ProgramFileError(f"its {FILE} has {known.size} bytes; a program file has at most {MAX_FILE}")
    for text in (known.etag, known.commit_hash):
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", text or "", re.ASCII):
            raise ProgramFileError("the Hub names its version in a way that isn't understood; ask its owner")


def commit_of(path: Path) -> str:
    """The commit that a fetched file belongs to, where the cache says so; empty otherwise.

    Args:
        path: what `hf_hub_download` returned, before links are followed.
    """
    return path.parent.name if path.parent.parent.name == "snapshots" else ""


def upload(repo: Repo, files: Mapping[str, bytes], *, private: bool, message: str) -> str:
    """Send files to a repository, in one commit; the repository and the branch are made where they are missing.

    Args:
        repo: the repository; its revision is a branch.
        files: the bytes of each, by its name there.
        private: whether a new repository is seen by its owner alone.
        message: of the commit.

    Returns:
        The commit's URL.

    Raises:
        ConfigError: the Hub is another machine, and nobody said that it may be sent to.
        WriteError: the Hub refuses it, or can't be reached.
    """
    where = checked_url(endpoint(), "push")
    check_encrypted(where, "push")
    with _client(f"push {repo}", WriteError) as hub:
        api = hub.HfApi(endpoint=where)
        api.create_repo(repo.id, private=private, exist_ok=True)
        if repo.revision != "main":
            api.create_branch(repo.id, branch=repo.revision, exist_ok=True)
        operations = [hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=raw) for name, raw in files.items()]
        done = api.create_commit(repo.id, operations=operations, commit_message=message, revision=repo.revision)
        return str(done.commit_url)


@contextlib.contextmanager
def _client(what: str, kind: type[ReprogramError]) -> Iterator[Any]:
    """The Hub's client, without its progress bars; whatever it raises is one line."""
    try:
        import huggingface_hub as hub
        import huggingface_hub.constants
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError:
        raise ConfigError(
            f"{what}: the package huggingface_hub isn't installed; pip install 'reprogram[hub]'"
        ) from None
    shown = not hub.utils.are_progress_bars_disabled()
    hub.utils.disable_progress_bars()
    try:
        yield hub
    except ConfigError:
        raise
    except ReprogramError as error:
        raise type(error)(f"{what}: {error}") from None
    except Exception as error:  # The client and its HTTP library raise many kinds.
        raise kind(f"{what}: {_reason(error, hub)}") from None
    finally:
        if shown:
            hub.utils.enable_progress_bars()


def _reason(error: Exception, hub: Any) -> str:
    """What an error of the client means, and what to do."""
    errors = hub.errors
    if isinstance(error, errors.GatedRepoError):
        return f"{endpoint()} asks for an agreement first; accept it on its page, and log in"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"no such repository on {endpoint()}, or it is private; check the name, or set HF_TOKEN"
    if isinstance(error, errors.RevisionNotFoundError):
        return "no such revision; give a branch, a tag or a commit of it"
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return f"the repository holds no {FILE}; it is no program of reprogram"
    text = printable(" ".join(str(error).split()))[:200]
    return (
        f"{endpoint()} can't be used so ({type(error).__name__}: {text}); try again, or check HF_ENDPOINT and HF_TOKEN"
    )
