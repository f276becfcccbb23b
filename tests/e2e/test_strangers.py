"""The command line and what strangers wrote: names that are markup or steer a terminal, other hosts, bad data."""

import contextlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest
import torch
from PIL import Image

import reprogram
from helpers import random_task
from reprogram.cli import main

NAMES = (
    "<script>alert(1)<\\script>",
    "<img src=x onerror=alert(1)>",
    "\" onmouseover='alert(1)",
    "{{ 7 * 7 }}{% include 'x' %}",
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31mred",
    "\u202egnp.exe\u2066",
    "a\r\nb\u2028c\x00d",
    "[link](javascript:alert) **bold** `code` | cell |",
    "[red]rich[\\red] [link=http:x]x",
    "$\\frac{a}{b}$ $x^2$ \\",
    "\U000e0041\u200b\ufeff tag",
)
INERT = [name for name in NAMES if name.isprintable()]


def cli(*arguments):
    """Exit code, stdout and stderr of a call."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(a) for a in arguments])
    return code, out.getvalue(), err.getvalue()


def inert(text):
    """Text that can't steer a terminal: printable lines."""
    return all(line.isprintable() for line in text.split("\n"))


@pytest.fixture(scope="module")
def odd_program(tmp_path_factory):
    """A program file whose every text is hostile."""
    task = random_task(num_classes=len(NAMES), n=(48, 24, 24))
    task = reprogram.Task(
        name=NAMES[4], train=task.train, validation=task.validation, test=task.test, class_names=NAMES
    )
    model = reprogram.Reprogrammed.build("linear:16", task)
    model.provenance.created_by = NAMES[5]
    model.provenance.metrics = {NAMES[6]: NAMES[4], NAMES[0]: 1}
    return model.save(tmp_path_factory.mktemp("odd") / "p.safetensors")


def test_inspect_shows_hostile_names_without_their_effect(odd_program):
    code, out, err = cli("inspect", odd_program)
    assert (code, err) == (0, "") and inert(out)
    assert len(re.findall(r"^label ['\"]", out, re.MULTILINE)) == len(NAMES)
    for name in INERT:
        assert repr(name)[1:-1] in out or name in out


def test_json_holds_hostile_names_whole_and_inert(odd_program):
    code, out, err = cli("inspect", odd_program, "--json")
    assert (code, err) == (0, "") and inert(out)
    value = json.loads(out)
    assert tuple(value["task"]["classes"]) == NAMES
    assert value["task"]["name"] == NAMES[4] and value["metrics"] == {NAMES[6]: NAMES[4], NAMES[0]: 1}


def test_predict_shows_hostile_names_without_their_effect(odd_program, tmp_path):
    for place in range(3):
        Image.new("RGB", (8, 8), (100 * place, 0, 0)).save(tmp_path / f"\x1b[31m{place}\u202e.png")
    for flags in ((), ("--json",)):
        code, out, err = cli("predict", odd_program, tmp_path, "--quiet", *flags)
        assert (code, err) == (0, "") and inert(out) and out
    assert {answer["label"] for answer in json.loads(out)} <= set(NAMES)


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def odd_run(tmp_path_factory):
    """A finished run on folders with hostile names, four files of which are damaged; its result."""
    root = tmp_path_factory.mktemp("odd run")
    folders = [name.replace("\x00", "") for name in NAMES if "/" not in name]
    for label, name in enumerate(folders):
        (root / "data" / name).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (8, 8), (20 * label, i, 0)).save(root / "data" / name / f"{i}.png")
    for name in folders[:4]:
        path = root / "data" / name / "7.png"
        path.write_bytes(path.read_bytes()[:40])
    (root / "data" / folders[5] / "8.png").write_bytes((root / "data" / folders[5] / "9.png").read_bytes())
    command = (
        "fit",
        "--host",
        "linear:24",
        "--task",
        f"folder:{root / 'data'}",
        "--epochs",
        "1",
        "--baselines",
        "none",
    )
    refused = cli(*command, "--out", root / "run", "--json", "--quiet")
    code, out, err = cli(*command, "--out", root / "run", "--skip-bad", "--json")
    assert code == 0, err
    return root, folders, refused, json.loads(out), err


def test_bad_files_are_refused_with_a_list(odd_run):
    _, _, (code, out, err), _, _ = odd_run
    assert code == 3 and inert(out)
    assert err.count("\n") == 1 and "4 of 144" in err and "--skip-bad" in err and inert(err)
    assert len(json.loads(out)["details"]) == 4


def test_skipped_files_are_counted_in_the_result(odd_run):
    root, _, _, result, err = odd_run
    assert result["data"]["skipped"]["count"] == 4 == len(result["data"]["skipped"]["files"])
    assert sum(result["splits"].values()) == 140
    assert "4 files" in err and inert(err)
    schema = json.loads((Path(reprogram.__file__).parent / "runs" / "result.schema.json").read_text())
    stored = json.loads((root / "run" / "result.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    assert list(validator.iter_errors(stored)) == []
    for change in ({"skipped": 4}, {**stored["data"], "overlap": {}}, {**stored["data"], "x": 1}):
        assert list(validator.iter_errors({**stored, "data": change}))


def test_the_report_shows_hostile_names_without_their_effect(odd_run):
    root, folders, _, _, _ = odd_run
    text = (root / "run" / "report.html").read_text()
    assert inert(text)
    page = Page()
    page.feed(text)
    assert page.tags <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "span", "div", "figure", "img", "figcaption",
        "table", "tr", "th", "td", "b", "br", "pre", "details", "summary", "code",
    }  # fmt: skip
    assert page.attributes <= {"lang", "charset", "name", "content", "class", "src", "alt", "style"}
    styles = re.findall(r' style="([^"]*)"', text)
    assert all(re.fullmatch(r"(left: [\d.]+%?; )?width: [\d.]+(%|rem)", style) for style in styles), "numbers alone"
    assert re.findall(r'src="(?!data:image/)', text) == []
    for name in folders:
        if name.isprintable():
            assert name in page.text


def test_evaluate_skips_and_counts_too(odd_run):
    root, _, _, _, _ = odd_run
    task = f"folder:{root / 'data'}"
    command = ("evaluate", root / "run" / "program.safetensors", "--task", task, "--json")
    code, out, err = cli(*command)
    assert code == 3 and "4 of 144" in err and len(json.loads(out)["details"]) == 4
    code, out, err = cli(*command, "--skip-bad")
    assert code == 0, err
    assert json.loads(out)["data"]["skipped"]["count"] == 4
    assert cli("evaluate", root / "run" / "program.safetensors", "--task", "digits", "--skip-bad")[0] == 3


def test_another_host_ends_with_5_and_the_override_warns(odd_program, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    command = ("predict", odd_program, tmp_path / "x.png", "--host", "linear(size=16, seed=1)")
    code, out, err = cli(*command)
    assert code == 5 and out == "" and err.count("\n") == 1 and "--any-host" in err
    code, out, err = cli(*command, "--any-host")
    assert code == 0 and out and "warning" in err and "results will differ" in err


@pytest.mark.parametrize(
    "host",
    [
        "checkpoint:/etc/passwd",
        "timm:resnet18(kwargs={'a': 1})",
        "os:system",
        "../x",
        "timm:local-dir:/tmp",
        "x" * 4000,
    ],
)
def test_a_file_does_not_choose_what_is_opened(odd_program, tmp_path, host):
    from reprogram.programfile.file import read
    from reprogram.programfile.format import encode

    file = read(odd_program)
    header = file.header.model_dump(mode="json")
    del header["digest"]
    header["host"]["id"] = host
    (tmp_path / "p").write_bytes(encode(header, file.tensors))
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    code, out, err = cli("predict", tmp_path / "p", tmp_path / "x.png")
    assert code == 5 and out == "" and err.count("\n") == 1 and inert(err)
    assert cli("inspect", tmp_path / "p")[0] == 0
    assert torch.isfinite(file.tensors["program.weight"]).all()
