"""The contract of an executor: it starts workers somewhere, hands them cells and says what they report."""

from reprogram.runconfig import RunConfig
from reprogram.sweep.worker import Report


class Executor:
    """Workers somewhere, each with a number of its own; a worker does one cell at a time.

    Each executor's file has a function `executor(*, address, threads)` that sets one up.
    """

    def room(self) -> int:
        """How many workers there is room for."""
        raise NotImplementedError

    def start(self) -> int:
        """Start a worker; it reports when it is ready.

        Returns:
            Its number.
        """
        raise NotImplementedError

    def give(self, worker: int, config: RunConfig) -> None:
        """Have a worker that is ready run a cell."""
        raise NotImplementedError

    def report(self) -> tuple[int, Report]:
        """Wait for the next report, and say whose it is. A lost worker's is its last."""
        raise NotImplementedError

    def close(self) -> None:
        """End all workers; cells that they are at are saved first."""
        raise NotImplementedError
