"""Standard streams that are closed, full, broken or of another encoding, as a shell hands them to a real process."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image

import reprogram
from helpers import random_task
from reprogram.programfile.file import read

FIT = "fit --host linear:40 --task 'squares(train=160, validation=40, test=60)' --epochs 1 --baselines none --out"


def shell(line, **environment):
    """Exit code, stdout and stderr of a line of bash, in which `reprogram` is this project's command line."""
    script = f'set -o pipefail; reprogram() {{ "{sys.executable}" -m reprogram "$@"; }}; {line}'
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(["bash", "-c", script], capture_output=True, env=environment, timeout=200)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The file of a program for images of 8 x 8 pixels."""
    host, task = reprogram.load_host("linear:40"), random_task((1, 8, 8))
    path = tmp_path_factory.mktemp("program") / "p.safetensors"
    reprogram.Reprogrammed.build(host, task).save(path)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Images whose names few encodings have; the last one isn't UTF-8."""
    folder = tmp_path_factory.mktemp("pictures")
    names = ["猫.png".encode(), "é.png".encode(), "😀.png".encode(), b"caf\xe9.png"]
    for name in names:
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:  # noqa: PTH118, PTH123 - bytes
            Image.new("L", (8, 8), 99).save(file, "png")
    return folder


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "streams,code,lines", [(">&-", 3, 1), (">/dev/full", 3, 1), ("2>&-", 0, 0), (">&- 2>&-", 3, 0)]
)
def test_a_run_is_whole_whatever_the_streams(tmp_path, streams, code, lines):
    got, out, err = shell(f"{FIT} {tmp_path}/run --quiet {streams}".replace("fit", "reprogram fit", 1))
    assert (got, err.count("\n")) == (code, lines), err
    assert "Traceback" not in err and bool(out) == (streams == "2>&-")
    assert 0 <= json.loads((tmp_path / "run/result.json").read_bytes())["test"]["accuracy"] <= 1
    read(tmp_path / "run/program.safetensors")


def test_progress_on_a_full_device_is_dropped(tmp_path):
    got, out, _ = shell(f"reprogram {FIT} {tmp_path}/run --json 2>/dev/full")
    assert got == 0 and json.loads(out)["folder"] == f"{tmp_path}/run"


@pytest.mark.parametrize("arguments", ["--help", "--version", "list programs", "list tasks --json", "fit --help"])
def test_output_that_cannot_be_written_is_three_and_one_line(arguments):
    for streams in (">/dev/full", ">&-"):
        code, _, err = shell(f"reprogram {arguments} {streams}")
        assert code == 3 and err.count("\n") == 1 and err.startswith("reprogram: stdout: can't be written ("), err


@pytest.mark.sampled(3)
@pytest.mark.parametrize("arguments", ["--help", "list hosts 'resnet*'", "runs --help", "list programs --json"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_went_away_is_141_quietly(arguments, unbuffered):
    code, _, err = shell(f"reprogram {arguments} | true", PYTHONUNBUFFERED=unbuffered)
    assert (code, err) == (141, "")


def test_answers_in_a_narrow_encoding_are_escaped(program, pictures):
    code, out, err = shell(f"reprogram predict {program} {pictures} --quiet", PYTHONIOENCODING="cp1252")
    assert code == 0, err
    text = out.decode("cp1252")
    assert "\\u732b.png: " in text and "é.png: " in text and "\\U0001f600.png: " in text


@pytest.mark.sampled(3)
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "shift-jis", "utf-8"])
def test_json_in_a_narrow_encoding_keeps_its_values(program, pictures, encoding):
    code, out, err = shell(f"reprogram predict {program} {pictures} --quiet --json", PYTHONIOENCODING=encoding)
    assert code == 0, err
    names = {answer["image"].rpartition("/")[2] for answer in json.loads(out.decode(encoding))}
    assert {"猫.png", "é.png", "😀.png"} < names


def test_a_locale_without_utf8_keeps_names(program, pictures):
    line = f"reprogram predict {program} {pictures} --quiet --json"
    code, out, err = shell(line, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert code == 0 and {"猫.png", "é.png", "😀.png"} < {a["image"].rpartition("/")[2] for a in json.loads(out)}, err


def test_paths_on_stdin_are_bytes_in_every_encoding(program, pictures):
    line = f"cd {pictures}; printf '猫.png\\r\\ncaf\\xe9.png\\n\\n' | reprogram predict {program} - --quiet --json"
    code, out, err = shell(line, PYTHONIOENCODING="cp1252")
    assert (code, len(json.loads(out))) == (0, 2), err


def test_a_closed_stdin_is_one_line(program):
    code, _, err = shell(f"reprogram predict {program} - <&-")
    assert code == 3 and err.count("\n") == 1 and "stdin is closed" in err


@pytest.mark.sampled(3)
@pytest.mark.parametrize("columns", ["0", "1", "2", "³", "-5", "wide", "99999999999"])
def test_every_width_shows_the_help(columns):
    code, out, err = shell("reprogram list --help", COLUMNS=columns)
    assert (code, err) == (0, "") and b"programs" in out
