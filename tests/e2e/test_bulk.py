"""`predict` in bulk: a row for each image in its order, gone on with where it was begun, whatever the format."""

import csv
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import reprogram
from helpers import random_task, tiny_model
from helpers_runs import cli

HOST = "linear(size=16, num_classes=12)"
COLUMNS = ["image", "label", "probability", "host_label", "host_probability", "error", "program"]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "p.safetensors"
    model = reprogram.Reprogrammed.build(HOST, random_task(), program="frame", label_map="first", seed=3)
    return model.save(path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """150 images in three folders, one of which can't be read, and a text beside them."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for i in range(150):
        (folder / "cba"[i % 3]).mkdir(exist_ok=True)
        pixels = generator.integers(0, 256, (9 + i % 5, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "cba"[i % 3] / f"{i}.png")
    (folder / "b" / "7.png").write_bytes(b"\x89PNG no picture")
    (folder / "note.txt").write_text("no image")
    return folder


def rows_of(path):
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return [{key: value or None for key, value in row.items()} for row in csv.DictReader(file)]
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def whole_rows(raw):
    """The lines after that of the columns, without the last one if it is cut off."""
    lines = raw.split(b"\n")[:-1]
    return lines[1:] if raw.startswith(b"image,") else lines


def expected(program, paths):
    """What the model says of each image, one at a time, by Pillow and the model alone."""
    model = reprogram.load(program)
    for path in paths:
        size = model.task.shape[1:][::-1]
        with Image.open(path) as picture:
            fitted = ImageOps.fit(picture.convert("RGB"), size, method=Image.Resampling.BILINEAR)
        images = np.asarray(fitted).transpose(2, 0, 1)[None].copy()
        with torch.no_grad():
            scores = model(torch.from_numpy(images)).softmax(1)[0]
        yield model.task.classes[int(scores.argmax())], float(scores.max())


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_row_for_each_image_in_its_order(program, photos, tmp_path, ending):
    out = tmp_path / f"rows.{ending}"
    code, text, err = cli("predict", program, photos, "--out", out, "--quiet")
    assert code == 3 and "150 images, 1 of which" in text and "left out: 1 files ending in .txt" in err
    assert err.count(str(photos / "b" / "7.png")) == 1, "it is named on stderr too"
    rows, paths = rows_of(out), sorted(photos.rglob("*.png"))
    assert list(rows[0]) == COLUMNS and [row["image"] for row in rows] == list(map(str, paths))
    bad = [row for row in rows if row["error"]]
    assert [row["image"] for row in bad] == [str(photos / "b" / "7.png")]
    assert bad[0]["label"] is None and bad[0]["probability"] is None
    good = [row for row in rows if not row["error"]]
    for row, (label, probability) in zip(good, expected(program, [row["image"] for row in good]), strict=True):
        assert row["label"] == label and float(row["probability"]) == pytest.approx(probability, rel=1e-4)
    assert len({row["program"] for row in rows}) == 1


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_what_was_begun_is_gone_on_with_to_the_same_bytes(program, photos, tmp_path, ending):
    whole, out = tmp_path / f"whole.{ending}", tmp_path / f"rows.{ending}"
    assert cli("predict", program, photos, "--out", whole, "--skip-bad", "--quiet")[0] == 0
    raw = whole.read_bytes()
    for length in (0, 3, 60, len(raw) // 2, len(raw) - 1, len(raw)):
        out.write_bytes(raw[:length])
        code, text, err = cli("predict", program, photos, "--out", out, "--skip-bad", "--quiet", "--json")
        assert code == 0, err
        done = json.loads(text)
        assert out.read_bytes() == raw and done["images"] == 150 and done["unread"] == 1
        # Whole batches count, so that each image is computed in the same company as before.
        assert done["before"] == (150 if length == len(raw) else 64 * (len(whole_rows(raw[:length])) // 64))


def test_another_file_or_other_images_are_never_overwritten(program, photos, tmp_path):
    other, out = tmp_path / "other.csv", tmp_path / "rows.csv"
    other.write_bytes(b"a,b\r\n1,2\r\n")
    code, _, err = cli("predict", program, photos, "--out", other)
    assert code == 3 and "holds something else" in err and other.read_bytes() == b"a,b\r\n1,2\r\n"
    assert cli("predict", program, photos / "a", "--out", out, "--quiet")[0] == 0
    raw = out.read_bytes()
    code, _, err = cli("predict", program, photos / "b", "--out", out)
    assert code == 3 and "row 1 is of" in err and out.read_bytes() == raw
    second = tmp_path / "q.safetensors"
    reprogram.Reprogrammed.build(HOST, random_task(), seed=4).save(second)
    code, _, err = cli("predict", second, photos / "a", "--out", out)
    assert code == 3 and "another program" in err and out.read_bytes() == raw
    defended = ("--host", f"defended(host={HOST!r}, by='temperature')")  # The same weights: no --any-host.
    another = ("--host", "linear(size=16, num_classes=12, seed=7)", "--any-host")
    for change in (another, defended, ("--precision", "bfloat16")):
        code, _, err = cli("predict", program, photos / "a", "--out", out, "--quiet", *change)
        assert code == 3 and "another program, host or precision" in err and out.read_bytes() == raw
    for notes in (b"note\n", b"hello\nmore notes of mine\nthird", b"a,b\nc\n"):
        out.write_bytes(raw + notes)
        code, _, err = cli("predict", program, photos / "a", "--out", out)
        assert code == 3 and "holds something else" in err and out.read_bytes() == raw + notes
    for name in (tmp_path, tmp_path / "rows.txt", "-"):
        assert cli("predict", program, photos, "--out", name)[0] == 3


def test_lists_patterns_and_stdin_give_the_rows_of_their_files(program, photos, tmp_path):
    paths = [photos / "a" / "2.png", photos / "c" / "0.png"]
    listed = tmp_path / "list.txt"
    listed.write_text("\n\n".join(map(str, paths)))
    marked = tmp_path / "marked.txt"
    marked.write_text("\n".join(map(str, paths)), encoding="utf-8-sig")
    cases = {
        "files": paths,
        "list": ["--list", listed],
        "marked list": ["--list", marked],
        "pattern": [photos / "a" / "2.*", photos / "**" / "0.png"],
    }
    found = {}
    for name, arguments in cases.items():
        code, text, err = cli("predict", program, *arguments, "--out", "-", "--format", "jsonl", "--quiet")
        assert code == 0, err
        found[name] = [json.loads(line)["image"] for line in text.splitlines()]
    assert set(map(tuple, found.values())) == {tuple(map(str, paths))}
    code, _, err = cli("predict", program, photos / "z*.png")
    assert code == 3 and "matches this pattern" in err


def test_python_answers_as_the_command_line(program, photos):
    answers = list(reprogram.predict_files(reprogram.load(program), photos / "b"))
    told = json.loads(cli("predict", program, photos / "b", "--json", "--quiet")[1])
    assert [str(a.path) for a in answers if not a.error] == [one["image"] for one in told]
    assert [a.label for a in answers if not a.error] == [one["label"] for one in told]
    assert len(answers) == 50 and sum(bool(a.error) for a in answers) == 1


def test_files_are_decoded_no_further_than_two_batches_ahead(tmp_path):
    model, taken = tiny_model(), []
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")

    def paths():
        for i in range(100):
            taken.append(i)
            yield tmp_path / "a.png"

    from reprogram.evaluation.bulk import answer_paths

    answers = answer_paths(model, paths(), batch_size=5)
    next(answers)
    assert len(taken) <= 16
    answers.close()
    assert len(taken) <= 16


def test_odd_names_come_back_from_every_format(program, photos, tmp_path):
    source = (photos / "a" / "2.png").read_bytes()
    folder = tmp_path / "odd"
    folder.mkdir()
    names = ['a"b,c.png', "line\nbreak.png", "carriage\rreturn.png", "=1+1.png", "猫.png", " .png", "[x]*?.png"]
    for name in names:
        (folder / name).write_bytes(source)
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(source)
    for ending in ("csv", "jsonl"):
        out = tmp_path / f"rows.{ending}"
        for _ in range(2):  # The second time, all of them are recognised.
            code, _, err = cli("predict", program, folder, "--out", out, "--quiet")
            assert code == 0, err
        assert {row["image"] for row in rows_of(out)} == {str(folder / n) for n in [*names, "caf\ufffd.png"]}
    code, text, _ = cli("predict", program, folder / "[x]*?.png", "--json", "--quiet")
    assert code == 0 and len(json.loads(text)) == 1


@pytest.mark.judge
def test_parquet_is_read_by_arrow(program, photos, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "rows.parquet"
    assert cli("predict", program, photos, "--out", out, "--skip-bad", "--quiet")[0] == 0
    assert cli("predict", program, photos, "--out", tmp_path / "rows.jsonl", "--skip-bad", "--quiet")[0] == 0
    table = parquet.read_table(out)
    assert table.column_names == COLUMNS and table.to_pylist() == rows_of(tmp_path / "rows.jsonl")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.jsonl", "rows.parquet"]
    lines = (tmp_path / "rows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "rows.parquet").unlink()
    (tmp_path / "rows.parquet.part.jsonl").write_text("".join(lines[:64]) + lines[64][:9])
    code, text, _ = cli("predict", program, photos, "--out", out, "--skip-bad", "--quiet", "--json")
    assert code == 0 and json.loads(text)["before"] == 64 and parquet.read_table(out).equals(table)
    code, text, _ = cli("predict", program, photos, "--out", out, "--skip-bad", "--quiet", "--json")
    assert code == 0 and json.loads(text)["before"] == 150 and parquet.read_table(out).equals(table)
