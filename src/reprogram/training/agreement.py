"""What the processes that learn together agree on between two steps, because it decides what comes next."""

import signal

import torch

from reprogram.utils.distributed import ProcessGroup


def agreed(pending: list[int], seconds: float, group: ProcessGroup) -> tuple[int, float]:
    """The signal that ends the run, 0 for none, and the seconds of learning: the same in all processes.

    Args:
        pending: the signals that this process got.
        seconds: of learning, in this process; the main process's count.
        group: the processes that learn together.
    """
    if group.size == 1:
        return (pending[0] if pending else 0), seconds
    flags = [float(signal.SIGINT in pending), float(any(number != signal.SIGINT for number in pending))]
    own = seconds if group.is_main else 0.0
    # Sums over processes: how many got SIGINT, how many another signal, and the main process's seconds.
    interrupts, terminations, common = group.all_reduce(torch.tensor([*flags, own], dtype=torch.float64)).tolist()
    return (signal.SIGINT if interrupts else signal.SIGTERM if terminations else 0), common
