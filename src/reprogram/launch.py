"""How torchrun started this process, as the environment tells it; known before torch is imported."""

import os


def launched_size() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "MASTER_ADDR" in os.environ else 1


def launched_rank() -> int:
    """This process's place among them."""
    return int(os.environ.get("RANK", "0")) if launched_size() > 1 else 0


def local_device(name: str) -> str:
    """The device of this process: where a machine has several CUDA devices, each process takes its own."""
    local = os.environ.get("LOCAL_RANK", "0")
    return f"cuda:{local}" if launched_size() > 1 and name == "cuda" else name
