"""What a shell is given at the TAB key: the names that there are, and files."""

import os
import pty
import select
import shutil
import subprocess
import time

import pytest

from helpers_runs import cli, four_runs
from reprogram.paper.experiments import base as experiments
from reprogram.paper.preset import preset_names
from reprogram.registry import names
from reprogram.runs import recipes

WORDS = {
    "fit --recipe": recipes.names(),
    "fit --task": names("tasks"),
    "fit --host": names("hosts"),
    "fit --label-map": names("label-maps"),
    "fit --baselines": names("baselines"),
    "evaluate p --task": names("tasks"),
    "predict p --host": names("hosts"),
    "paper": ["all", "list", "report", *experiments.names()],
    "paper --preset": preset_names(),
    "paper table1 --hosts": names("hosts"),
    "paper table1 --tasks": names("tasks"),
    "sweep g.toml --executor": ["local", "ray"],
    "doctor --host": names("hosts"),
}


@pytest.mark.parametrize("words", WORDS)
def test_names_are_completed(words):
    code, out, err = cli("__complete", *words.split(), "")
    assert (code, err) == (0, "")
    assert {line.split("\t")[0] for line in out.splitlines()} >= set(WORDS[words])


def test_runs_are_completed(tmp_path, monkeypatch):
    four_runs(tmp_path / "runs")
    monkeypatch.setenv("REPROGRAM_RUNS", str(tmp_path / "runs"))
    for words in ("show", "compare a", "remove"):
        code, out, err = cli("__complete", "runs", *words.split(), "")
        assert (code, err) == (0, "") and {"a", "b", "c", "d"} <= {line.split("\t")[0] for line in out.splitlines()}


def completed(script, folder, line):
    """The line that bash has made of a line and the TAB key."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "PS1": "", "TERM": "dumb", "HOME": str(folder), "INPUTRC": os.devnull}
    bash = subprocess.Popen(
        ["bash", "--noprofile", "--norc", "-i"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    os.close(follower)
    seen, end = b"", time.monotonic() + 60
    os.write(leader, f". {script}; echo rea''dy\n".encode())
    typed = False
    try:
        while time.monotonic() < end and b"<end>" not in seen:
            if select.select([leader], [], [], 1)[0]:
                seen += os.read(leader, 10_000)
            if not typed and b"\nready" in seen:
                typed = True
                os.write(leader, b"reprogram() { printf '<%s>' \"$@\" end; }\n" + line.encode() + b"\t\n")
    finally:
        bash.kill()
        bash.wait()
        os.close(leader)
    return seen.decode()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    "line,end",
    [
        ("reprogram inspect my", "<my file.safetensors><end>"),
        ("reprogram predict p pict", "<p><pictures/><end>"),
        ("reprogram fit --warm-start my", "<my file.safetensors><end>"),
        ("reprogram fit --task folder:pict", "<folder:pictures/><end>"),
        ("reprogram fit --dow", "<--download><end>"),
    ],
)
def test_bash_completes_files_with_spaces_and_folders(tmp_path, line, end):
    from reprogram.cli import app

    (tmp_path / "script").write_text(app.generate_completion(shell="bash"))  # noqa: S604 - no process
    (tmp_path / "my file.safetensors").touch()
    (tmp_path / "pictures").mkdir()
    assert end in completed(tmp_path / "script", tmp_path, line)
