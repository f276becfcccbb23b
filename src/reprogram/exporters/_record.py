"""The texts that an exported file keeps: what it answers, and what it was made of."""

import json

from reprogram._version import __version__
from reprogram.model import Reprogrammed
from reprogram.programfile.file import digest_of
from reprogram.registry import format_spec

VERSION = "1"
"""The version of these texts."""


def record(model: Reprogrammed, *, pixels: str, host_top: int) -> dict[str, str]:
    """The texts by name; docs/export.md describes them.

    Args:
        model: the model.
        pixels: the type of the images that the file takes.
        host_top: how many of the host's own answers it gives.
    """
    info, task = model.host.info, model.task
    texts = {
        "reprogram_export": VERSION,
        "created_by": f"reprogram {__version__}",
        "task": task.name,
        "class_names": json.dumps(task.classes, ensure_ascii=False),
        "images": f"{pixels}, b x {' x '.join(map(str, task.shape))}, {'0 to 255' if pixels == 'uint8' else '0 to 1'}",
        "preprocessing": _preprocessing(*task.shape),
        "scores": "logits: their softmax are probabilities, their largest is the label",
        "program_digest": digest_of(model.adapter, host=model.host, task=task, provenance=model.provenance),
        "canvas": format_spec(model.canvas),
        "program": format_spec(model.program),
        "label_map": format_spec(model.label_map),
        "host": info.id,
        "host_fingerprint": model.host.fingerprint,
        "host_licence": info.licence,
    }
    if host_top:
        texts["host_class_names"] = json.dumps([info.label(i) for i in range(info.num_classes)], ensure_ascii=False)
    return texts


def _preprocessing(channels: int, height: int, width: int) -> str:
    """How an image file becomes an image of the file, as `reprogram predict` makes it."""
    if channels not in (1, 3):
        return "none: the host's normalisation is in the file"
    colour = "RGB, grey repeated" if channels == 3 else "grey (ITU-R BT.601)"
    return (
        f"decoded to 8 bits, turned as EXIF says, transparency laid over white; resized to cover {height} x {width} "
        f"pixels (bilinear, antialiased) and cut to the centre; {colour}; channels first; the host's normalisation is "
        "in the file"
    )
