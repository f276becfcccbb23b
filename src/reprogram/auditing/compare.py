"""Two reports of the same audit, held against each other: what got worse, and what got better."""

import dataclasses
import hashlib
import json

from reprogram.auditing.subject import Grid


def checksum(grid: Grid, version: str) -> str:
    """The checksum of an audit; those of reports that may be compared are equal.

    It covers battery, tasks and their images, budgets, seeds, the attacks of all rungs and the version, but not the
    host: comparing hosts, or a host with its successor, is what it is for.

    Args:
        grid: what was run.
        version: of reprogram.

    Returns:
        16 hexadecimal digits of a SHA-256.
    """
    values = dataclasses.asdict(grid)
    for attack in values["attacks"]:
        del attack["host"]
    text = json.dumps([values, version], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
