"""Specs with paths as people have them: every space, script and mark that a folder's name may hold."""

import tomllib

import pytest
from PIL import Image

import reprogram
from reprogram.runs.config import RunConfig, to_toml
from reprogram.utils.spec import parse

NAMES = (
    "写真\u30001", "a\u00a0b", "می\u200cخواهم", "👨\u200d👩\u200d👧", "e\u0301", "soft\u00adhyphen", "שלום\u200f",
    "\ue000", "photos (2024)", "a b", "what?", "\u3000ends\u3000", "x=1", "50%", "a:b", "#1", "line\u2028separator",
    "\ufeffbom",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_taken_as_it_is(tmp_path, name):
    for label in ("a", "b"):
        (tmp_path / name / label).mkdir(parents=True)
        for i in range(8):
            Image.new("L", (4, 4), i).save(tmp_path / name / label / f"{i}.png")
    spec = f"folder:{tmp_path / name}"
    assert parse(spec).argument == str(tmp_path / name)
    assert parse(f"folder(path={str(tmp_path / name)!r})").options == {"path": str(tmp_path / name)}
    assert len(reprogram.load_task(f"{spec}?seed=1").test) == 4
    config = RunConfig(task=spec)
    assert tomllib.loads(to_toml(config))["fit"]["task"] == spec


@pytest.mark.parametrize("character", ["\x1b", "\0", "\n", "\x7f", "\x85", "\udce9"])
def test_control_characters_and_lost_bytes_are_refused(character, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        parse(f"folder:/data/a{character}b")
    assert one_line(error).isprintable()


def test_spaces_around_a_spec_are_no_part_of_it():
    assert parse(" folder:/data/a \n").argument == "/data/a"
