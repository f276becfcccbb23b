"""The contract of an executor: it starts workers somewhere, gives them cells and passes on their messages."""

from reprogram.runs.config import RunConfig
from reprogram.sweep.worker import WorkerMessage


class Executor:
    """A group of workers, each with a number of its own; a worker runs one cell at a time.

    Each executor's file has a function `executor(*, address, threads)` that sets one up.

    Attributes:
        silence_s: seconds after which a worker that runs a cell and sends no message is given up, and its cell with it;
            None for never. Executors that can't end a worker from outside never give one up.
    """

    silence_s: float | None = None

    def capacity(self) -> int:
        """The number of workers that there is room for."""
        raise NotImplementedError

    def start(self) -> int:
        """Start a worker, which sends a message when it is ready.

        Returns:
            The worker's number.
        """
        raise NotImplementedError

    def submit(self, worker: int, config: RunConfig) -> None:
        """Have a worker run a cell.

        Args:
            worker: the number of a worker that is ready.
            config: the cell's configuration.
        """
        raise NotImplementedError

    def next_message(self) -> tuple[int, WorkerMessage]:
        """Wait for the next message.

        Returns:
            The worker's number and the message; "lost" is a worker's last one.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End all workers; the cells that they are running are saved first."""
        raise NotImplementedError
