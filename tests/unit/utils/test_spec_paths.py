"""Specs with paths as people have them: every space, script and mark that a folder's name may hold."""

import tomllib

import pytest
from PIL import Image

import reprogram
from reprogram.registry import configure
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


@pytest.mark.parametrize("name", ["a?size=8", "que?key=1", "shots (k=1)", "set(n=2)?size=3"])
def test_a_path_that_is_there_is_no_option(tmp_path, name):
    (tmp_path / name).mkdir()
    whole, missing = parse(f"folder:{tmp_path / name}"), parse("folder:b?size=8")
    assert (whole.argument, whole.options) == (str(tmp_path / name), {})
    assert (missing.argument, missing.options) == ("b", {"size": 8})


def test_home_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/homes/me")
    assert parse("folder:~/photos?size=8").argument == "/homes/me/photos"
    assert parse("concealed(photo='~/a.png')").options == {"photo": "/homes/me/a.png"}
    assert parse("folder:a~b").argument == "a~b"


@pytest.mark.parametrize("spec", ["folder:", "arrays:", "linear:", "timm:?pretrained=0"])
def test_nothing_after_the_colon_is_not_the_current_folder(spec, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        configure("tasks" if spec[0] in "fa" else "hosts", spec)
    assert "nothing stands after the colon" in one_line(error)


@pytest.mark.parametrize("spec", [b"squares", None, 3, ["squares"]])
def test_what_is_no_text_is_no_spec(spec, one_line):
    for load in (reprogram.load_task, reprogram.load_host):
        with pytest.raises(reprogram.ConfigError) as error:
            load(spec)
        assert "is no spec" in one_line(error)


@pytest.mark.parametrize("name,meant", [("ResNet50", "resnet50"), ("resnet-50", "resnet50"), ("SQUARES", "squares")])
def test_another_spelling_finds_the_name(name, meant, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        (reprogram.load_task if meant == "squares" else reprogram.load_host)(name)
    assert meant in one_line(error).partition("did you mean")[2]


def test_spaces_around_a_spec_are_no_part_of_it():
    assert parse(" folder:/data/a \n").argument == "/data/a"
