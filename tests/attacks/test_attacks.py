"""What strangers send is refused at once, in little memory, and imports nothing; `attacks/` holds the files."""

import pytest

from attacks import mutate, program_files
from attacks.__main__ import FAMILIES, ROOT, measured
from attacks.samples import good_program
from reprogram.programfile.file import read

pytestmark = pytest.mark.alone

MILLISECONDS = 50
WAITING_MS = 250
"""Wall clock: nothing waits for a pipe, but other processes may be busy."""
MEGABYTES = 64
REFUSALS = {"program": "ProgramFileError: ", "image": "DataError: "}


@pytest.fixture(scope="module")
def results(tmp_path_factory, resident_memory):
    """Each attack's outcome, read in a process of its own."""
    found = {}
    for kind in FAMILIES:
        outcomes = measured(kind, tmp_path_factory.mktemp(kind))
        found |= {(kind, name): result for name, result in outcomes.items()}
    return found


@pytest.mark.parametrize("kind,name", [(kind, name) for kind, (attacks, _) in FAMILIES.items() for name in attacks])
def test_an_attack_is_refused_at_once_in_little_memory(results, kind, name):
    result = results[kind, name]
    assert result["error"].startswith(REFUSALS[kind]), result
    assert "\n" not in result["error"] and result["error"].isprintable()
    assert result["cpu_ms"] < MILLISECONDS and result["ms"] < WAITING_MS, result
    assert result["mb"] < MEGABYTES, result
    unasked = [m for m in result["imported"] if not m.startswith(("reprogram.", "PIL."))]
    assert unasked == []
    if name.startswith("component_name"):
        assert result["imported"] == []


def test_what_is_measured_can_be_seen(tmp_path, resident_memory):
    """The measure itself: reading a large good image costs what it must."""
    import json
    import subprocess
    import sys

    from PIL import Image

    Image.new("RGB", (4000, 4000)).save(tmp_path / "large.bmp")
    Image.new("RGB", (4, 4)).save(tmp_path / "small.bmp")
    paths = [str(tmp_path / name) for name in ("small.bmp", "large.bmp")]
    command = [sys.executable, "-m", "attacks.measure", "image", paths[0], *paths]
    small, large = map(
        json.loads, subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.split("\n")[:2]
    )
    assert small["error"] == large["error"] == ""
    assert large["mb"] > 60 > 10 > small["mb"]  # 4 bytes a pixel.
    assert large["mb"] < 12 * 16
    assert large["ms"] > small["ms"]


def test_no_attack_left_anything(tmp_path):
    good = good_program(tmp_path).read_bytes()
    path = program_files.pickled(tmp_path, good)
    with pytest.raises(Exception, match="refused"):
        read(path)
    assert not (tmp_path / "owned").exists()


def test_damaged_program_files_are_refused_or_canonical(tmp_path):
    """A short, seeded run of what `attacks.fuzz_program_file` does with coverage."""
    good = good_program(tmp_path).read_bytes()
    outcomes = [
        mutate.check_program_file(mutate.program_file(good, mutate.seeded(seed)), tmp_path / "x")
        for seed in range(1500)
    ]
    assert 1450 < outcomes.count(False) < 1500


def test_odd_specs_are_refused_or_configured():
    outcomes = [mutate.check_spec(mutate.spec(mutate.seeded(seed))) for seed in range(1500)]
    assert 1400 < outcomes.count(False) < 1500
