"""Each index.csv under results/ is current, has a line for every stored file, and says what the files say."""

import csv
import json
import math
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from statistics import NormalDist
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
INDEXES = sorted(RESULTS.rglob("index.csv"))
ROUNDING = 0.5e-4 + 1e-9


@pytest.fixture
def results_index(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "docs/_ext"))
    import results_index

    return results_index


def lines(index: Path) -> list[dict[str, str]]:
    with index.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def stored(kind: str) -> Iterator[tuple[dict[str, str], dict[str, Any], Path]]:
    """Line, content and path of every indexed file that has this key."""
    for index in INDEXES:
        for line in lines(index):
            path = index.parent / line["file"]
            data = json.loads(path.read_text(encoding="utf-8"))
            if kind in data:
                yield line, data, path


def test_every_index_is_current(results_index: ModuleType) -> None:
    stale = [path.relative_to(ROOT).as_posix() for path in results_index.stale()]
    assert not stale, f"run make results: {stale}"


def test_make_results_writes_them() -> None:
    _, _, target = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nresults:")
    assert "docs/_ext/results_index.py" in target.partition("\n\n")[0]


def test_every_stored_file_has_one_line() -> None:
    listed = [index.parent / line["file"] for index in INDEXES for line in lines(index)]
    there = {path for path in RESULTS.rglob("*.json") if path.parent.name not in ("plans", "self-test")}
    assert len(listed) == len(set(listed))
    assert set(listed) == there


def test_lines_say_what_the_results_say() -> None:
    num_lines = 0
    for line, data, path in stored("test"):
        test = data["test"]
        correct, n = round(test["accuracy"] * test["n"]), test["n"]
        assert float(line["accuracy"]) == pytest.approx(correct / n, abs=ROUNDING), path
        assert int(line["n"]) == n
        for column, end in zip(("interval low", "interval high"), wilson(correct, n), strict=True):
            assert float(line[column]) == pytest.approx(end, abs=ROUNDING), path
        assert int(line["seed"]) == data["seed"]
        assert int(line["images"]) == data.get("images_seen", data.get("budget_images"))
        assert float(line["seconds"]) == pytest.approx(data.get("seconds", data.get("seconds_of_budget")), abs=0.51)
        for column, name in (("label map alone", "map_alone"), ("linear probe", "linear_probe")):
            baseline = data.get("baselines", {}).get(name)
            assert line.get(column, "") == (f"{baseline['accuracy']:.4f}" if baseline else ""), path
        num_lines += 1
    assert num_lines > 200


def wilson(correct: int, n: int) -> tuple[float, float]:
    """Both p at which `correct` of n lies z standard deviations off: (x - p)² = z² p (1 - p) / n, solved for p."""
    x, square = correct / n, NormalDist().inv_cdf(0.975) ** 2 / n
    a, b, c = 1 + square, -(2 * x + square), x * x
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def test_lines_say_what_the_configurations_say() -> None:
    for line, data, path in stored("test"):
        beside = path.with_name("config.toml") if path.name == "result.json" else path.with_suffix(".toml")
        if not beside.is_file():  # The demo's.
            continue
        config = tomllib.loads(beside.read_text(encoding="utf-8"))["fit"]
        for option in ("canvas", "program", "label_map", "learner", "loss", "batch_size", "shots"):
            column = option.replace("_", " ")
            if column in line or option in ("canvas", "program", "label_map"):
                wanted = config.get(option, "")  # No `shots`, all images.
                wanted = data["batch_size"] if (option, wanted) == ("batch_size", "auto") else wanted
                assert line[column] == str(wanted), path


@pytest.mark.parametrize("index", INDEXES, ids=lambda path: path.parent.relative_to(ROOT).as_posix())
def test_no_two_lines_ask_for_the_same(index: Path) -> None:
    """What the hash in a file's name stands for is in the columns."""
    found = lines(index)
    last = next((column for column in ("accuracy", "times faster than peers", "said") if column in found[0]), "file")
    asked = list(found[0])[: list(found[0]).index(last)]
    asked += [column for column in ("seed", "images", "also holds") if column in found[0]]
    keys = [tuple(line[column] for column in asked) for line in found]
    assert len(set(keys)) == len(keys)


def test_benchmarks_say_the_ratio_of_their_medians() -> None:
    found = list(stored("arms"))
    assert len(found) == len(list(RESULTS.glob("bench*/*.json")))
    for line, data, path in found:
        peers, engine = (data["arms"][arm]["median_s"] for arm in ("peers", "engine"))
        assert float(line["times faster than peers"]) == pytest.approx(peers / engine, abs=0.006), path
        assert float(line["engine ms"]) == pytest.approx(1000 * engine, abs=0.051), path
        if (peak := data["arms"]["engine"]["peak_memory_bytes"]) is not None:  # A GPU's isn't measured.
            assert float(line["engine MiB"]) == pytest.approx(peak / 2**20, abs=0.1)
        if "half" in data["arms"]:
            half = data["arms"]["half"]["median_s"]
            assert float(line["half times faster than peers"]) == pytest.approx(peers / half, abs=0.006), path


def test_facts_say_how_much_was_correct() -> None:
    found = [(line, data["fact"]) for line, data, _ in stored("fact") if "correct" in data["fact"]]
    assert found
    for line, fact in found:
        assert float(line["accuracy"]) == pytest.approx(fact["correct"] / fact["n"], abs=ROUNDING)
        assert float(line["interval low"]) == pytest.approx(wilson(fact["correct"], fact["n"])[0], abs=ROUNDING)


def test_every_recipe_run_has_its_name() -> None:
    named = tomllib.loads((RESULTS / "recipes/recipes.toml").read_text(encoding="utf-8"))["files"]
    assert set(named) == {path.stem for path in (RESULTS / "recipes").glob("*.json")}, "results/recipes/recipes.toml"


def test_a_changed_result_makes_its_index_stale(results_index: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "window"
    shutil.copytree(RESULTS / "window", folder)
    assert results_index.stale(tmp_path) == []
    path = next(folder.glob("*.json"))
    data = json.loads(path.read_text(encoding="utf-8"))
    data["test"]["accuracy"] = 0.5
    path.write_text(json.dumps(data), encoding="utf-8")
    assert results_index.stale(tmp_path) == [folder / "index.csv"]
    results_index.write(folder)
    assert results_index.stale(tmp_path) == []


def test_an_index_without_results_is_stale(results_index: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    (tmp_path / "left/index.csv").write_text("task\n", encoding="utf-8")
    assert results_index.stale(tmp_path) == [tmp_path / "left/index.csv"]


def test_a_file_of_an_unknown_kind_is_refused(results_index: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"other\.json"):
        results_index.index(tmp_path)


def test_check_fails_where_an_index_is_stale(tmp_path: Path) -> None:
    """With the standard library alone."""
    for name in ("results_index.py", "results_rows.py"):
        copy(ROOT / "docs/_ext" / name, tmp_path / "docs/_ext" / name)
    copy(RESULTS / "paper/preset.toml", tmp_path / "results/paper/preset.toml")
    shutil.copytree(RESULTS / "bench", tmp_path / "results/bench")
    index = tmp_path / "results/bench/index.csv"
    fresh = index.read_bytes()
    index.write_bytes(fresh + b"x")
    command = [sys.executable, "-S", str(tmp_path / "docs/_ext/results_index.py")]
    checked = subprocess.run([*command, "--check"], check=False, capture_output=True, text=True)
    assert checked.returncode == 1
    assert checked.stdout.startswith("results/bench/index.csv:")
    subprocess.run(command, check=True)
    assert index.read_bytes() == fresh
    assert subprocess.run([*command, "--check"], check=False).returncode == 0


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
