"""`reprogram detect`: logs and folders in, alarms out."""

import json

import numpy as np
import pytest
from PIL import Image

import reprogram
from reprogram.cli import main

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A log of 20 queries: one account sends pictures inside of one frame, the other doesn't."""
    folder = tmp_path_factory.mktemp("log")
    frame, lines = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8), ["file,account"]
    for i in range(20):
        picture = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        if i % 2:
            picture, own = frame.copy(), picture
            picture[8:24, 8:24] = own[8:24, 8:24]
        Image.fromarray(picture).save(folder / f"{i:02}.png")
        lines.append(f"{i:02}.png,{'anna' if i % 2 else 'bert'}")
    (folder / "log.csv").write_text("\n".join(lines) + "\n")
    return folder


def run(capsys, *arguments):
    code = main(["detect", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_log_is_read_in_order_with_its_accounts(log, capsys):
    code, out, err = run(capsys, "--detector", "repeated-border(threshold=4.0)", log / "log.csv")
    lines = out.splitlines()
    assert (code, err) == (0, "") and len(lines) == 6
    assert all(line.startswith("alarm: ") and "of anna" in line for line in lines[:5])
    assert "11.png" in lines[0] and "5 is above 4" in lines[0]
    assert lines[5] == "alarms: 5 of 20 queries, by 1 of 2 accounts"
    code, out, _ = run(
        capsys, "--detector", "repeated-border(threshold=4.0)", log / "log.csv", "--json", "--fail-on-alarm"
    )
    told = json.loads(out)
    assert code == 10 and told["alarms"] == 5 and [q["account"] for q in told["queries"][:2]] == ["bert", "anna"]


def test_a_broken_image_does_not_hide_the_alarm(log, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"no image")
    own = ["--detector", "repeated-border(threshold=4.0)", log / "log.csv", tmp_path / "broken.png"]
    code, out, err = run(capsys, *own, "--fail-on-alarm")
    assert code == 10 and "alarms: 5 of 20" in out and "broken.png" in err
    assert run(capsys, *own)[0] == 3


def test_a_state_file_goes_on(log, tmp_path, capsys):
    state = tmp_path / "state.safetensors"
    own = ["--detector", "repeated-border(threshold=4.0)", "--state", state, "--account", "one", "--json"]
    odd = sorted(log.glob("*[13579].png"))
    assert json.loads(run(capsys, *own, *odd[:5])[1])["alarms"] == 0
    told = json.loads(run(capsys, *own, *odd[5:])[1])
    assert [q["score"] for q in told["queries"]] == [5, 6, 7, 8, 9] and told["alarms"] == 5
    assert reprogram.load_detector(state).accounts() == ["one"]
    code, _, err = run(capsys, "--detector", "still-cells", "--state", state, odd[0])
    assert code == 3 and err.count("\n") == 1 and "holds repeated-border" in err


def test_a_threshold_that_is_set_anew_forgets_no_account(log, tmp_path, capsys):
    """The scores go on as without it, for only the threshold changes."""
    state, odd = tmp_path / "state.safetensors", sorted(log.glob("*[13579].png"))
    own = ["--detector", "repeated-border", "--state", state, "--account", "one", "--json"]
    benign = ["--benign", *sorted(log.glob("*[02468].png")), "--false-positives", "0.2"]
    run(capsys, *own, *odd[:5])
    told = json.loads(run(capsys, *own, *benign)[1])
    assert told["threshold"] == 0 and reprogram.load_detector(state).accounts() == ["one"]
    told = json.loads(run(capsys, *own, *odd[5:])[1])
    assert [q["score"] for q in told["queries"]] == [5, 6, 7, 8, 9] and told["alarms"] == 5


def test_what_was_learned_anew_is_not_replaced_by_what_was_learned_before(log, tmp_path, capsys):
    """Against a detector that learns from the same queries, and never learned from others."""
    own = ["--host", "linear:16", "--detector", "mahalanobis(over=2)", "--false-positives", "0.2"]
    first, second = sorted(log.glob("*[02468].png")), sorted(log.glob("*[13579].png"))
    run(capsys, *own, "--state", tmp_path / "both", *first, "--benign", *first)
    for state in ("both", "alone"):
        assert run(capsys, *own, "--state", tmp_path / state, "--benign", *second)[0] == 0
    both, alone = (reprogram.Detector.load(tmp_path / state) for state in ("both", "alone"))
    assert both.threshold == alone.threshold and both.accounts() == alone.accounts() == []
    for name, array in alone.state_dict().items():
        np.testing.assert_array_equal(both.state_dict()[name], array)


def test_benign_queries_set_the_threshold(log, capsys):
    benign = ["--benign", *sorted(log.glob("*[02468].png")), "--false-positives", "0.2"]
    code, out, err = run(capsys, *sorted(log.glob("*[13579].png")), "--json", *benign)
    assert code == 0 and json.loads(out)["threshold"] == 0 and "from 10 benign queries" in err
    made = ["--benign", log, "--benign-queries", "150", "--false-positives", "0.1"]
    code, out, err = run(capsys, "--host", "linear:16", "--detector", "neighbours", log / "log.csv", *made)
    assert code == 0 and "67 benign queries" in err and "of 20 queries" in out  # It learned from 83, of other accounts.


@pytest.mark.parametrize(
    "arguments,text",
    [
        ([], "no queries"),
        (["none.csv"], "none.csv"),
        (["{log}/00.png", "--detector", "energy"], "give --host"),
        (["{log}/00.png", "--detector", "repeated-borders"], "did you mean"),
        (["{log}/00.png", "--benign", "{log}/01.png"], "0.001"),
        (["{log}/00.png", "--benign-queries", "5"], "--benign"),
        (["bad.csv"], "no column `file`"),
        (["--benign", "{log}", "{log}/00.png"], "give them before it"),
        (["{log}/00.png", "--state", "bad.csv/state.safetensors"], "choose another --state"),
        (["twice.csv"], "names a column twice"),
        (["{log}/00.png", "--false-positives", "0.5"], "--benign"),
        (["{log}/00.png", "--benign", "{log}/00.png", "--false-positives", "0"], "between 0 and 1"),
        (["{log}/00.png", "--host", "no-such-host", "--detector", "energy"], "name them with --benign"),
        (["{log}/00.png", "--host", "no-such-host", "--detector", "neighbours(threshold=1.0)"], "with --benign"),
        (["{log}/00.png", "--host", "no-such-host"], "no-such-host"),
    ],
)
def test_mistakes_are_one_line(arguments, text, log, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    (tmp_path / "twice.csv").write_text("file,file\n1,2\n")
    code, out, err = run(capsys, *(argument.format(log=log) for argument in arguments))
    assert code == 3 and out == "" and err.count("\n") == 1 and text in err


def test_unread_images_are_named_and_the_others_read(log, tmp_path, capsys):
    (tmp_path / "log.csv").write_text(f"file,account\nnone.png,a\n{log}/00.png,a\n")
    code, out, err = run(capsys, tmp_path / "log.csv")
    assert code == 3 and "none.png" in err and out == "alarms: 0 of 1 queries, by 0 of 1 accounts\n"
    code, out, err = run(capsys, tmp_path / "log.csv", "--json")
    told = json.loads(out)
    assert code == 3 and len(told["queries"]) == 1 and err == f"reprogram: {told['unread'][0]}\n"


def test_an_image_that_is_too_large_is_named_and_the_others_read(log, tmp_path, capsys):
    for path in sorted(log.glob("0[0-3].png")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    Image.new("RGB", (4200, 8)).save(tmp_path / "02.png")
    for options in ((), ("--benign", tmp_path, "--false-positives", "0.5")):
        code, out, err = run(capsys, *options, tmp_path, "--state", tmp_path / "state.safetensors", "--quiet")
        assert code == 3 and "of 3 queries" in out and err.count("\n") == 1 + bool(options)
        assert "02.png: an image of 8 x 4200 pixels" in err
        (tmp_path / "state.safetensors").unlink()


def test_a_detector_of_images_reads_them_at_the_size_of_the_host(log, monkeypatch, capsys):
    read, own = [], reprogram.Detector.observe
    monkeypatch.setattr(
        "reprogram.Detector.observe", lambda self, image, *a: read.append(image) or own(self, image, *a)
    )
    code, out, _ = run(capsys, "--host", "linear:16", log / "00.png", log / "02.png")
    assert code == 0 and "of 2 queries" in out
    assert {image.shape for image in read} == {reprogram.load_host("linear:16").info.shape}


def test_a_threshold_that_nothing_exceeds_is_said(log, capsys):
    """Honest retries have the highest score of this detector; no query scores more."""
    benign = ["--benign", log / "00.png", log / "00.png", log / "00.png", log / "02.png", "--false-positives", "0.3"]
    with pytest.warns(UserWarning, match="the alarm never rings"):
        code, out, _ = run(capsys, "--detector", "blacklight", log / "04.png", *benign)
    assert code == 0 and out == "alarms: 0 of 1 queries, by 0 of 1 accounts\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", ""),
        (",anna", "line 3: no file"),
        ("  ,anna", "line 3: no file"),
        ("{log}/01.png,anna,more", "line 3: more fields than columns"),
        ("{log},anna", "is a folder"),
        ("{log}/no\0thing.png,anna", "damaged"),
        ("{log}/none.png,anna", "no such file"),
    ],
)
def test_an_odd_line_of_a_log_is_named_and_the_others_are_read(line, said, log, tmp_path, capsys):
    """All of one kind: none of them loses what the other lines say, nor the state."""
    (tmp_path / "log.csv").write_text(f"file,account\n{log}/00.png,a\n{line.format(log=log)}\n{log}/02.png,b\n")
    code, out, err = run(capsys, tmp_path / "log.csv", "--state", tmp_path / "state.safetensors")
    assert (code, out) == (3 if said else 0, "alarms: 0 of 2 queries, by 0 of 2 accounts\n")
    assert said in err and err.count("\n") == bool(said) and (tmp_path / "state.safetensors").exists()


def test_spaces_around_names_and_fields_are_not_part_of_them(log, tmp_path, capsys):
    (tmp_path / "log.csv").write_text(f"file, account\n{log}/00.png, anna \n{log}/02.png,anna\n")
    code, out, _ = run(capsys, tmp_path / "log.csv", "--json")
    assert code == 0 and [query["account"] for query in json.loads(out)["queries"]] == ["anna", "anna"]


def test_a_name_that_a_stranger_sends_hides_no_line_of_a_log(log, tmp_path, capsys):
    """Names are the senders' own: one that is too long, or no UTF-8, is one line; the others are read, and kept."""
    lines = [b"file,account"] + [f"{log}/{i:02}.png,anna".encode() for i in range(1, 20, 2)]
    lines[4:4] = [f"{log}/00.png,".encode() + b"x" * 140_000, f"{log}/02.png,".encode() + b"\xff\xfe"]
    lines += [b",anna"]
    (tmp_path / "log.csv").write_bytes(b"\n".join(lines) + b"\n")
    state = tmp_path / "state.safetensors"
    code, out, err = run(
        capsys, "--detector", "repeated-border(threshold=4.0)", tmp_path / "log.csv", "--state", state, "--json"
    )
    told = json.loads(out)
    assert code == 3 and len(told["queries"]) == 11 and told["alarms"] > 0
    assert err.count("\n") == 2 and "line 5: can't be read (field larger" in err and "line 14: no file" in err
    assert len(reprogram.Detector.load(state).accounts()) == 2


@pytest.mark.parametrize("shape", [(3, 16, 20), (1, 16, 16), (1, 20, 16)])
def test_benign_queries_are_made_for_hosts_of_any_shape(shape, log, tmp_path, monkeypatch, capsys):
    channels, height, width = shape
    (tmp_path / "net.py").write_text(
        "import torch\nfrom reprogram import Host\n\n"
        f"net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear({channels * height * width}, 5))\n"
        f"half = (0.5,) * {channels}\n"
        f"host = Host.wrap(net, size=({height}, {width}), channels={channels}, mean=half, std=half)\n"
    )
    monkeypatch.chdir(tmp_path)
    made = ["--benign", log, "--benign-queries", "60", "--false-positives", "0.1"]
    code, out, err = run(capsys, "--host", "python:net.py:host", "--detector", "energy", log / "00.png", *made)
    assert code == 0 and "of 1 queries" in out, err


def test_a_host_that_shows_no_features_is_refused(log, capsys):
    made = ["--benign", log, "--benign-queries", "60", "--false-positives", "0.1"]
    host = "defended:linear:16?by=blur"
    code, _, err = run(capsys, "--host", host, "--detector", "neighbours", log / "00.png", *made)
    assert code == 3 and "reprogram: defended(" in err and "shows no features of a last layer" in err
