"""An option is one place: a field with a line of documentation, and nothing else, is keyword, flag, key and help."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import reprogram

LEARNING = "sharpness: how far the option of this test reaches, which nothing reads."
RUNNING = "nickname: what the run of this test is called, which nothing reads."

SCRIPT = """
import contextlib
import inspect
import io
import sys
from pathlib import Path

import reprogram
from reprogram.cli import main
from reprogram.errors import ConfigError
from reprogram.runs.config import RunConfig, from_values, read_toml, to_toml
from reprogram.training.options import FitOptions

source, folder = sys.argv[1], Path(sys.argv[2])
assert Path(reprogram.__file__).is_relative_to(source), reprogram.__file__


def call(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return code, " ".join(out.getvalue().split()), err.getvalue()


# The library: signature, documentation, keyword.
parameter = inspect.signature(reprogram.fit).parameters["sharpness"]
assert parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.default == 0.25
assert "nickname" not in inspect.signature(reprogram.fit).parameters
assert " ".join(LEARNING.split()) in " ".join(reprogram.fit.__doc__.split())
assert FitOptions(sharpness=2.0).sharpness == 2.0
task = reprogram.load_task("squares(train=16, validation=8, test=8)")
model = reprogram.Reprogrammed.build("linear:48", task, program="full", label_map="first")
reprogram.fit(model, task, sharpness=0.5, images=16)

# The command line: help, flag, file of the run.
code, out, _ = call("fit", "--help")
assert code == 0 and "--sharpness" in out and "--nickname" in out
assert "(default: 0.25)" in out and "(default: nobody)" in out
for text in (LEARNING, RUNNING):
    assert all(word in out for word in text.partition(": ")[2].split()), text
run = folder / "run"
code, _, err = call("fit", "--task", "squares(train=16, validation=8, test=8)", "--host", "linear:48", "--canvas",
                    "centre", "--label-map", "first", "--images", "16", "--baselines", "none", "--quiet",
                    "--sharpness", "0.75", "--nickname", "somebody", "--out", run)
assert code == 0, err
assert 'sharpness = 0.75' in (run / "config.toml").read_text()

# Files: read, written, and read again.
values = read_toml(run / "config.toml")
assert (values["sharpness"], values["nickname"]) == (0.75, "somebody")
config = from_values({"sharpness": 3, "nickname": "me"})
assert config == RunConfig(sharpness=3.0, nickname="me")
(folder / "again.toml").write_text(to_toml(config))
assert from_values(read_toml(folder / "again.toml")) == config
assert from_values({}).sharpness == 0.25 and from_values({}).nickname == "nobody"
assert RunConfig(sharpness=1.0).identity() != RunConfig().identity() != RunConfig(nickname="x").identity()

# A value of the wrong type is one line that names the option and what it should be.
for option, value, kind in [("sharpness", "much", "a number"), ("nickname", 3, "text")]:
    try:
        from_values({option: value})
    except ConfigError as error:
        assert str(error) == f"{option}={value!r}; {kind} is expected", error
    else:
        raise AssertionError(option)
code, out, err = call("fit", "--sharpness", "much")
assert (code, out) == (2, "") and err.count("\\n") == 1 and "sharpness" in err and "much" in err, err
(folder / "wrong.toml").write_text('[fit]\\nsharpness = "much"')
code, out, err = call("fit", "--config", folder / "wrong.toml")
assert (code, out) == (3, "") and err.count("\\n") == 1 and "sharpness=" in err, err
print("one place is enough")
"""


def add_field(path, before, line, after, field):
    """Add a line of documentation before some text, and a field after some other, each of which is there once."""
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == text.count(after) == 1, path
    text = text.replace(before, f"        {line}\n{before}").replace(after, f"{after}    {field}\n")
    path.write_text(text, encoding="utf-8")


def test_a_new_option_is_a_field_and_its_line_of_documentation(tmp_path):
    copy = tmp_path / "src" / "reprogram"
    shutil.copytree(Path(reprogram.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    add_field(
        copy / "training" / "options.py",
        '    """\n\n    learner: str',
        LEARNING,
        '    checkpoint_every: str = "30s"\n',
        "sharpness: float = 0.25",
    )
    add_field(
        copy / "runs" / "config.py",
        '    """\n\n    host: str',
        RUNNING,
        '    out: str = ""\n',
        'nickname: str = "nobody"',
    )
    result = subprocess.run(
        [sys.executable, "-c", f"LEARNING, RUNNING = {LEARNING!r}, {RUNNING!r}\n{SCRIPT}", copy.parent, tmp_path],
        env={**os.environ, "PYTHONPATH": str(copy.parent), "COLUMNS": "300"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "one place is enough" in result.stdout
