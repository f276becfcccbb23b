"""How fast `reprogram predict` is on very many files: `python benchmarks/bulk.py`, which writes bulk.json beside it.

Files are generated: PNG of the task's size, or photographs of 500 x 375 pixels as JPEG. Rounds of 500 files go through
`predict`'s own reading, computing and writing of rows, and the same images as a tensor in memory through the host
alone (`reprogram.evaluation.predict`), in turn; both have the same batches and threads. Then one command line answers
all files, and another a tenth of them: their time with the start, and their peak memory.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter

import reprogram
from reprogram.cli._rows import Table, written
from reprogram.cli.console import Display
from reprogram.evaluation.bulk import answer_paths
from reprogram.evaluation.predict import predict
from reprogram.tasks._split import Split
from reprogram.utils import images as image_files
from reprogram.utils.environment import processor
from reprogram.utils.process import start_torch

ROUND = 500


def write_files(folder: Path, count: int, kind: str, size: tuple[int, int]) -> list[Path]:
    """Files of smoothed noise; a few hundred pictures, each stored several times."""
    generator, paths, contents = np.random.default_rng(0), [], []
    for _ in range(min(count, 200)):
        width, height = size if kind == "png" else (500, 375)
        noise = Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
        file = io.BytesIO()
        noise.filter(ImageFilter.GaussianBlur(2)).save(file, "PNG" if kind == "png" else "JPEG", quality=90)
        contents.append(file.getvalue())
    for i in range(count):
        path = folder / f"{i // 1000:03d}" / f"{i:06d}.{kind}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(contents[i % len(contents)])
        paths.append(path)
    return paths


def rounds(model: reprogram.Reprogrammed, paths: list[Path], folder: Path) -> dict[str, Any]:
    """Seconds of both ways, and of the processor, over all rounds."""
    channels, height, width = model.task.shape
    total = {way: np.zeros(2) for way in ("predict", "host alone")}
    ratios = []
    for start in range(0, len(paths), ROUND):
        some = paths[start : start + ROUND]
        pictures = [image_files.to_tensor(image_files.fit(image_files.read(p), height, width), channels) for p in some]
        split = Split(images=torch.stack(pictures), labels=torch.zeros(len(some), dtype=torch.long))
        spent = {}
        for way in ("predict", "host alone") if start // ROUND % 2 else ("host alone", "predict"):
            begun = np.array([time.perf_counter(), time.process_time()])
            if way == "predict":
                table = Table(folder / f"{start}.csv", None, "0" * 16)
                written(table, iter(some), len(some), lambda p: answer_paths(model, p), Display(quiet=True))
            else:
                predict(model.host_scores, split, batch_size=64)
            spent[way] = np.array([time.perf_counter(), time.process_time()]) - begun
            total[way] += spent[way]
        ratios.append(spent["host alone"][0] / spent["predict"][0])
    return {
        "images": len(paths),
        "images_per_s": {way: round(len(paths) / seconds[0], 2) for way, seconds in total.items()},
        "processor_s": {way: round(seconds[1], 2) for way, seconds in total.items()},
        "throughput_ratio": round(total["host alone"][0] / total["predict"][0], 4),
        "median_ratio_of_rounds": round(float(np.median(ratios)), 4),
        "processor_ratio": round(total["host alone"][1] / total["predict"][1], 4),
    }


def command_line(program: Path, files: Path, out: Path, threads: int) -> dict[str, Any]:
    """One command: its seconds, start included, its rows and its peak memory."""
    command = [sys.executable, "-m", "reprogram", "predict", program, files, "--out", out, "--threads", threads]
    begun = time.perf_counter()
    process = subprocess.Popen([*map(str, command), "--quiet"], stdout=subprocess.DEVNULL)  # noqa: S603
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    rows = out.read_bytes().count(b"\n") - 1
    return {
        "images": rows,
        "seconds": round(time.perf_counter() - begun, 1),
        "peak_MiB": round(usage.ru_maxrss / 1024, 1),
        "exit": os.waitstatus_to_exitcode(status),
    }


def main() -> None:
    """Measure, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="efficientnet-lite0")
    parser.add_argument("--task", default="squares")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kind", choices=["png", "jpg"], default="png")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    start_torch(options.threads)
    model = reprogram.Reprogrammed.build(options.host, options.task)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "files").mkdir()
        program = model.save(folder / "p.safetensors")
        paths = write_files(folder / "files", options.files, options.kind, model.task.shape[:0:-1])
        measured = rounds(model, paths, folder)
        all_of_them = command_line(program, folder / "files", folder / "all.csv", options.threads)
        tenth = command_line(program, folder / "files" / "000", folder / "tenth.csv", options.threads)
    result = {
        "command": f"python benchmarks/bulk.py {' '.join(sys.argv[1:])}".strip(),
        "host": options.host,
        "task": options.task,
        "kind": options.kind,
        "threads": options.threads,
        "processor": processor(),
        "torch": torch.__version__,
        "reprogram": reprogram.__version__,
        "rounds": measured,
        "command_line": [all_of_them, tenth],
    }
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
