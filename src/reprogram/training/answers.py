"""The store of a run's answers, which a host has while the run goes on."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reprogram.errors import ConfigError
from reprogram.hosts._store import AnswerStore
from reprogram.hosts.base import Host


@contextlib.contextmanager
def keeping_answers(host: Host, path: Path | None, *, run: str = "", anew: bool = False) -> Iterator[None]:
    """In the block, a host that only answers isn't asked for an image twice; a store that it has already stays.

    Args:
        host: the host; one that gives gradients has no store.
        path: the store's file, from which a killed run goes on; None keeps the answers in memory.
        run: what the run depends on; a file of another run isn't taken.
        anew: remove the file of another run, which nothing goes on from, instead of refusing it.

    Raises:
        ConfigError: the file holds answers of another host or run.
        DataError: the file is damaged, or can't be made.
    """
    if host.info.access == "gradient" or host.answers is not None:
        yield
        return
    key = f"{host.info.id} {host.fingerprint} {run}".strip()
    try:
        store = AnswerStore(path, host.meter, key=key)
    except ConfigError:
        if not anew or path is None:
            raise
        _remove(path)
        store = AnswerStore(path, host.meter, key=key)
    host.answers = store
    try:
        yield
    finally:
        host.answers = None
        unused = store.is_empty()
        store.close()
        if unused and path is not None:  # Such as where the budget was refused at once.
            _remove(path)


@contextlib.contextmanager
def answers_beside(checkpoint: str | Path | None, host: Host, resume_key: dict[str, Any]) -> Iterator[None]:
    """In the block, answers are kept in a file beside a checkpoint, or else in memory; see `keeping_answers`.

    Args:
        checkpoint: the checkpoint's file, or None.
        host: the host.
        resume_key: what the run's result depends on.
    """
    path = beside(checkpoint)
    is_new = checkpoint is None or not os.path.lexists(checkpoint)
    text = json.dumps(resume_key, sort_keys=True, default=str)
    run = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    with keeping_answers(host, path, run=run, anew=is_new):
        yield


def beside(checkpoint: str | Path | None) -> Path | None:
    """The file of the answers beside a checkpoint; None without one.

    Args:
        checkpoint: the checkpoint's file.
    """
    return None if checkpoint is None else Path(checkpoint).with_name(f"{Path(checkpoint).name}.answers")


def _remove(path: Path) -> None:
    """Remove a store's file, and those that a killed process leaves beside it."""
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
