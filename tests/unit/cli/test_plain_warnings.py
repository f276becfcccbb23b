"""A warning for users is one line on stderr, without the code that gave it."""

import subprocess
import sys

import torch


def test_a_warning_is_one_line(tmp_path):
    weights = {"a": torch.ones(2)}
    torch.save({"model": weights, "ema\x1b[31m\n": weights}, tmp_path / "w.pt")
    command = [sys.executable, "-m", "reprogram", "convert", "w.pt", "w.safetensors"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "w.safetensors: 1 tensors\n"
    assert done.stderr.count("\n") == 1 and "\x1b" not in done.stderr and "convert.py" not in done.stderr
    assert done.stderr.startswith("reprogram: warning: w.pt: the tensors of 'model' are taken, those of 'ema")
