"""Each example of docs/writing-a-variant.md is a file that drops in: listed, and its command works."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from PIL import Image

import reprogram
from reprogram.registry import FAMILIES, FOLDERS

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-variant.md"
EXAMPLE = re.compile(r"^## An? [^\n]*: `([\w/]+\.py)`\n(.*?)^```python\n(.*?)^```\n(.*?)(?=^## )", re.M | re.S)
COMMAND = re.compile(r"^    (reprogram .*)$", re.M)

SCRIPT = """
import shlex, shutil, sys
import matplotlib.figure
import reprogram
from reprogram.cli import main
matplotlib.figure.Figure.savefig = lambda self, file, **_: file.write(b"<svg></svg>")  # Drawing takes longest.
assert reprogram.__file__.startswith(sys.argv[1]), reprogram.__file__
for number, command in enumerate(sys.argv[2:]):
    words = shlex.split(command)[1:]
    if words[0] == "export":
        shutil.copy("runs/0/program.safetensors", "program.safetensors")
    words += ["--out", f"runs/{number}", "--quiet", "--threads", "1"] if words[0] == "fit" else []
    assert main(words) == 0, command
"""


@pytest.mark.slow
def test_every_example_drops_in_and_its_command_works(tmp_path):
    examples = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    folders = {FOLDERS.get(family, family).replace(".", "/") for family in FAMILIES}
    assert {name.rpartition("/")[0] for name, *_ in examples} == folders
    copy = shutil.copytree(Path(reprogram.__file__).parent, tmp_path / "src" / "reprogram")
    commands = []
    for name, before, source, after in examples:
        assert not (copy / name).exists()
        (copy / name).write_text(source, encoding="utf-8")
        commands += COMMAND.findall(before + after)
    assert len(commands) >= len(examples)
    Image.new("RGB", (32, 32), (200, 30, 30)).save(tmp_path / "photo.png")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path), *commands],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, f"{done.stdout[-500:]}\n{done.stderr[-2000:]}\n{shlex.join(commands)}"
    schema = json.loads((copy / "runs" / "result.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    results = [json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.glob("runs/*/result.json")]
    assert len(results) == sum(shlex.split(command)[1] == "fit" for command in commands)
    assert any("nearest_mean" in result["baselines"] for result in results)
    assert [error.message for result in results for error in validator.iter_errors(result)] == []
