"""ONNX Runtime, quiet and with as many threads as PyTorch has."""

from pathlib import Path
from typing import Any

import torch


def session(path: Path) -> Any:
    """Open an ONNX file on the CPU.

    Args:
        path: the file.

    Returns:
        An `onnxruntime.InferenceSession`.
    """
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # Only its builds for Windows have any.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 4  # What goes wrong is raised; other lines are meant for its developers.
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
