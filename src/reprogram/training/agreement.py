"""What the processes that learn together tell each other between two steps."""

import signal

import torch

from reprogram.hosts._meter import Meter
from reprogram.utils.distributed import ProcessGroup

COUNTS = ("calls", "images", "requests")
"""What each process counts of its own, and all of them have to know."""


class Agreement:
    """What decides the next step is the same in all processes, and so is the host's bill.

    Args:
        meter: of this process's host; it begins with what only the main process may know, of before.
        group: the processes that learn together.
    """

    def __init__(self, meter: Meter, group: ProcessGroup) -> None:
        self.meter, self.group = meter, group
        self._known = self._counts()

    def __call__(self, pending: list[int], seconds: float) -> tuple[int, float]:
        """The signal that ends the run, 0 for none, and the seconds of learning: the same in all processes.

        What the other processes have asked their hosts since the last call is added to this one's meter.

        Args:
            pending: the signals that this process got.
            seconds: of learning, in this process; the main process's count.

        Raises:
            ProcessLostError: another process is gone.
        """
        if self.group.size == 1:
            return (pending[0] if pending else 0), seconds
        flags = [float(signal.SIGINT in pending), float(any(number != signal.SIGINT for number in pending))]
        own = seconds if self.group.is_main else 0.0
        counted = [now - known for now, known in zip(self._counts(), self._known, strict=True)]
        # Sums over processes: how many got SIGINT, how many another signal, the main process's seconds, and the counts.
        said = torch.tensor([*flags, own, *counted], dtype=torch.float64)
        interrupts, terminations, common, *sums = self.group.all_reduce(said).tolist()
        for name, total, mine in zip(COUNTS, sums, counted, strict=True):
            setattr(self.meter, name, getattr(self.meter, name) + int(total) - mine)
        self._known = self._counts()
        return (signal.SIGINT if interrupts else signal.SIGTERM if terminations else 0), common

    def _counts(self) -> list[int]:
        return [getattr(self.meter, name) for name in COUNTS]
