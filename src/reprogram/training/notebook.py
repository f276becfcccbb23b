"""The progress of `fit` in a notebook: a bar under the cell that is replaced as the run goes on."""

import html
import sys
import time
from typing import Any

from reprogram.training.results import FitProgress

EVERY_S = 0.5
"""Time between two updates of the line."""


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows more than text."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class NotebookLine:
    """Shows the progress as a bar and a line under the cell, for the argument `on_progress` of `reprogram.fit`.

    What shows no HTML shows the line alone.
    """

    def __init__(self) -> None:
        self._handle: Any = None
        self._last = 0.0

    def __call__(self, progress: FitProgress) -> None:
        """Show how far the run is, at most every `EVERY_S` seconds, and in the end.

        Args:
            progress: the state of the run.
        """
        if progress.fraction < 1 and time.monotonic() - self._last < EVERY_S:
            return
        self._last = time.monotonic()
        text = f"{100 * progress.fraction:3.0f} %  {progress}"
        bar = (
            f"<progress max='1' value='{progress.fraction:.4f}' style='width: 12em; vertical-align: middle'></progress>"
        )
        line = {"text/plain": text, "text/html": f"{bar} <code>{html.escape(text)}</code>"}
        if self._handle is None:
            display = sys.modules["IPython"].display.display
            self._handle = display(line, raw=True, display_id=True)
        else:
            self._handle.update(line, raw=True)
