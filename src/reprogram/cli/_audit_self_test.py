"""`reprogram audit --self-test`: the audit of hosts of which the answer is known."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from reprogram.cli.console import Common, Display, emit, table
from reprogram.utils.text import printable

EXIT_WRONG = 6


def run_self_test(seeds: Sequence[int], out: Path | None, common: Common) -> int:
    """Audit the known hosts, and print what was right.

    Args:
        seeds: each makes other hosts and other runs.
        out: the folder of the audits; by default runs/self-test.
        common: options of every verb.

    Returns:
        The exit code: 0 where the audit is right about every host, 6 where it isn't.
    """
    from reprogram.auditing.self_test import self_test, to_json

    cases = self_test(seeds=seeds, out=out or Path("runs") / "self-test", say=Display(common.quiet).say)
    values = to_json(cases, shlex.join(["reprogram", *map(printable, sys.argv[1:])]))
    if common.json:
        emit(values)
    else:
        rows = [
            (case.host, case.why, case.level, "right" if not case.wrong else f"WRONG: {'; '.join(case.wrong)}")
            for case in cases
        ]
        table([("host", "what is known", "the audit says", ""), *rows], headed=True)
        print(f"{values['right']} of {values['of']} right")
    return EXIT_WRONG if values["right"] < values["of"] else 0
