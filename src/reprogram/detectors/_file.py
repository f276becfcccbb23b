"""The file of a detector: options, threshold and state, as safetensors with a JSON header."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from reprogram.errors import DataError, ReprogramError
from reprogram.registry import configure, format_spec
from reprogram.utils.files import user_path, write_atomic

KEY = "reprogram_detector"
VERSION = 2
"""Of the format. In version 1 the accounts' names stood in the header, whose length safetensors limits."""

NAMES = "__accounts__"
"""The array of the accounts' names: bytes of a JSON list."""

MAX_BYTES = 2**32

LARGEST = 1e300
"""No number of a header is larger; whole numbers in JSON have no limit of their own."""


def save(detector: Any, path: str | Path) -> Path:
    """Write a detector's file.

    Args:
        detector: the detector.
        path: the file.
    """
    from safetensors.numpy import save as to_bytes

    header = {
        "version": VERSION,
        "spec": format_spec(detector),
        "threshold": detector.threshold,
        "false_positive_rate": detector.false_positive_rate,
        "num_calibrated": detector.num_calibrated,
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in detector.state_dict().items()}
    arrays[NAMES] = np.frombuffer(json.dumps(detector.accounts()).encode(), np.uint8)
    return write_atomic(user_path(path), to_bytes(arrays, metadata={KEY: json.dumps(header, sort_keys=True)}))


def load(path: str | Path) -> Any:
    """Read a detector's file.

    Args:
        path: the file.

    Raises:
        DataError: the file is missing, no such file, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = user_path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: more than {MAX_BYTES:,} bytes; no detector's file")
        with safe_open(path, framework="numpy") as file:
            header = _header(path, (file.metadata() or {}).get(KEY))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
        accounts = _accounts(path, header, arrays)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error}); give a detector's file") from None
    except (SafetensorError, TypeError, ValueError, RecursionError, AttributeError) as error:  # NumPy lacks some types.
        raise DataError(f"{path}: no detector's file, or damaged ({error}); give one that `save` wrote") from None
    try:
        variant, config = configure("detectors", header["spec"])
        detector = variant(config)
        detector.load_state_dict(arrays, accounts)
    except ReprogramError as error:
        raise DataError(f"{path}: {error}") from None
    detector.threshold = header["threshold"]
    detector.false_positive_rate = header["false_positive_rate"]
    detector.num_calibrated = header["num_calibrated"]
    return detector


def _header(path: Path, text: str | None) -> dict[str, Any]:
    """The checked header."""
    header = json.loads(text) if text is not None else None
    kinds = {
        "version": (int,),
        "spec": (str,),
        "threshold": (int, float, type(None)),
        "false_positive_rate": (int, float, type(None)),
        "num_calibrated": (int,),
    }
    if not isinstance(header, dict) or header.keys() - {"accounts"} != kinds.keys():
        raise DataError(f"{path}: no detector's file; give one that `save` wrote")
    if header["version"] not in (1, VERSION):
        raise DataError(f"{path}: version {header['version']!r} of the format; 1 and {VERSION} are read")
    for key, types in kinds.items():
        value = header[key]
        if not isinstance(value, types) or isinstance(value, bool):
            raise DataError(f"{path}: {key} is damaged; give a file that `save` wrote")
        if isinstance(value, int | float) and not abs(value) < LARGEST:
            raise DataError(f"{path}: {key} isn't finite; give a file that `save` wrote")
    rate = header["false_positive_rate"]
    if header["num_calibrated"] < 0 or (rate is not None and not 0 < rate < 1):
        raise DataError(f"{path}: what it was calibrated with is damaged; give a file that `save` wrote")
    return header


def _accounts(path: Path, header: dict[str, Any], arrays: dict[str, Any]) -> list[str]:
    """The accounts' names, which are taken out of the arrays."""
    names = arrays.pop(NAMES, np.empty(0, np.uint8))
    accounts = header.get("accounts") if header["version"] == 1 else json.loads(names.tobytes())
    if not isinstance(accounts, list) or not all(isinstance(account, str) for account in accounts):
        raise DataError(f"{path}: accounts are damaged; give a file that `save` wrote")
    return accounts
