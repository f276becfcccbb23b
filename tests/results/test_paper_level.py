"""The table of docs/paper.md that holds trained hosts against the paper is that of the stored runs."""

import json
import re
import runpy
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
STORED = [ROOT / "results" / name for name in ("paper", "paper-variants")]


@pytest.fixture
def paper_level(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The generator of the page's table."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    import paper_level

    return paper_level


def test_the_page_is_current(paper_level: ModuleType) -> None:
    text = paper_level.PAGE.read_text(encoding="utf-8")
    assert paper_level.page(text) == text, "run make results"
    target = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nresults:")[2]
    assert "docs/_ext/paper_level.py" in target.partition("\n\n")[0]


def test_the_tables_of_the_other_experiments_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    import paper_tables

    text = paper_tables.PAGE.read_text(encoding="utf-8")
    assert paper_tables.page(text) == text, "run make results"
    experiments = ("baselines", "size", "amplitude", "concealed", "transfer", "confidence")
    assert all(f"{paper_tables.BEGIN.format(name)}\n\n" in text for name in experiments)
    without = re.sub(r"\n\| [^-|][^\n]*, worth [^\n]*", "", text)
    assert without != text and paper_tables.page(without) == text
    target = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nresults:")[2]
    assert "docs/_ext/paper_tables.py" in target.partition("\n\n")[0]


def is_shuffled(run: Path) -> bool:
    """Whether the task image's pixels are permuted in a run."""
    config = tomllib.loads((run / "config.toml").read_text(encoding="utf-8"))
    return str(config["fit"]["canvas"]).startswith("shuffled")


def test_each_finished_run_has_its_line(paper_level: ModuleType) -> None:
    """Read with other means: the run's folder says host and seed, its file the accuracy and the program's worth."""
    text = paper_level.PAGE.read_text(encoding="utf-8")
    plans = [json.loads((folder / "plans/table1.json").read_text(encoding="utf-8")) for folder in STORED]
    trained = {line["run"] for plan in plans for line in plan if line["axis"]["state"] == "as given"}
    stored = {}
    for path in (path for folder in STORED for path in folder.glob("runs/*/result.json")):
        if path.parent.name not in trained or is_shuffled(path.parent):
            continue
        result = json.loads(path.read_text(encoding="utf-8"))
        host, seed = re.fullmatch(r"\w+?-(.*)-(?:frame|fourier)-s(\d+)-\w{8}", path.parent.name).groups()  # type: ignore[union-attr]
        right, n = round(result["host_shows"]["top_label"]["accuracy"] * result["test"]["n"]), result["test"]["n"]
        worth = result["test"]["accuracy"] - result["baselines"]["map_alone"]["accuracy"]
        stored[host.replace("_", " "), seed, f"**{right / n:.4f}**"] = worth
    table = text.partition(paper_level.BEGIN)[2].partition(paper_level.END)[0]
    lines = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if re.match(r"\|.*\(n = ", line)]
    shown = {(cells[2].replace("-", " "), cells[3], cells[6]): float(cells[9].split()[0]) for cells in lines}
    assert len(lines) == len(stored) and shown == pytest.approx(stored, abs=5.1e-4)


def test_each_run_with_shuffled_pixels_has_its_line(paper_level: ModuleType) -> None:
    """Read with other means; what is lost is the difference to the accuracy with the pixels as they are."""
    text = paper_level.PAGE.read_text(encoding="utf-8")
    table = text.partition(paper_level.SHUFFLED_HEAD[5])[2].partition(paper_level.END)[0]
    lines = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if line.count(" to ") == 3]
    shown = {(cells[2], cells[4], cells[6].split()[0]): cells for cells in lines}
    stored = [
        path for folder in STORED for path in folder.glob("runs/*-frame-*/result.json") if is_shuffled(path.parent)
    ]
    assert len(shown) == len(lines) == len(stored) > 0
    for path in stored:
        result = json.loads(path.read_text(encoding="utf-8"))
        host = "MobileNet V2" if "MobileNet" in path.parent.name else "EfficientNet-Lite0"
        cells = shown[host, f"{result['images_seen']:,}", f"{result['test']['accuracy']:.4f}"]
        assert float(cells[7]) == pytest.approx(result["test"]["accuracy"] - float(cells[5].split()[0]), abs=1e-4)


def test_shuffled_run_has_beside_it_the_same_run_with_the_pixels_as_they_are(paper_level: ModuleType) -> None:
    """Two runs are the same where no line of their configurations differs, but for canvas and output folder."""
    by_recipe: dict[str, dict[str, float]] = {}
    for path in (path for folder in STORED for path in folder.glob("runs/*/config.toml")):
        lines = path.read_text(encoding="utf-8").replace("shuffled(", "centre(").splitlines()
        result = json.loads(path.with_name("result.json").read_text(encoding="utf-8"))
        kind = "shuffled" if is_shuffled(path.parent) else "as they are"
        recipe = "\n".join(line for line in lines if not line.startswith(("out =", "baselines =")))
        by_recipe.setdefault(recipe, {})[kind] = result["test"]["accuracy"]
    text = paper_level.PAGE.read_text(encoding="utf-8")
    table = text.partition(paper_level.SHUFFLED_HEAD[5])[2].partition(paper_level.END)[0]
    lines = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if line.count(" to ") == 3]
    shown = {cells[6].split()[0]: cells[5].split()[0] for cells in lines if " after " not in cells[5]}
    pairs = {f"{pair['shuffled']:.4f}": f"{pair['as they are']:.4f}" for pair in by_recipe.values() if len(pair) == 2}
    assert shown == pairs


def test_other_recipes_are_marked(paper_level: ModuleType) -> None:
    """The settings of each run whose task, augmentation, program or canvas isn't the table's own stand in its line."""
    text = paper_level.PAGE.read_text(encoding="utf-8")
    table = text.partition(paper_level.BEGIN)[2].partition(paper_level.END)[0]
    lines = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if re.match(r"\|.*\(n = ", line)]
    usual = {"squares", "mnist", "arrays:data/cifar10-jpeg.npz", "none", "frame", "centre", "centre(size=36)"}
    for path in (path for path in (STORED[1] / "runs").glob("*/config.toml") if not is_shuffled(path.parent)):
        fit = tomllib.loads(path.read_text(encoding="utf-8"))["fit"]
        other = {fit[name] for name in ("task", "augmentation", "program", "canvas")} - usual
        result = json.loads(path.with_name("result.json").read_text(encoding="utf-8"))
        marks = {"shared" if mark == "squares(arrangements='shared')" else mark for mark in other}
        accuracy, images = f"**{result['host_shows']['top_label']['accuracy']:.4f}**", f"{result['images_seen']:,}"
        (line,) = (cells for cells in lines if cells[6] == accuracy and cells[4].startswith(images))
        assert set(re.findall(r"`(.*?)`", line[4])) == marks


def test_each_untrained_run_has_its_line(paper_level: ModuleType) -> None:
    """Read with other means: a run's configuration says its host's weights, its file right answers and images."""
    stored = set()
    for path in STORED[0].glob("runs/*/result.json"):
        host = tomllib.loads(path.with_name("config.toml").read_text(encoding="utf-8"))["fit"]["host"]
        if host.startswith("untrained"):
            result = json.loads(path.read_text(encoding="utf-8"))
            task = {"squares": "counting", "mnist": "MNIST"}.get(result["task"], "CIFAR-10 after JPEG")
            weights = "random, BatchNorm conditioned on one batch" if "conditioned" in host else "random"
            stored.add((task, weights, f"{result['images_seen']:,}", f"**{result['test']['accuracy']:.4f}**"))
    text = paper_level.PAGE.read_text(encoding="utf-8")
    table = text.partition(paper_level.UNTRAINED_BEGIN)[2].partition(paper_level.UNTRAINED_END)[0]
    lines = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if "n = " in line]
    shown = {(cells[1], cells[3], cells[4], cells[5].split()[0]) for cells in lines if cells[3] != "trained"}
    assert len(lines) == len(stored) * 3 / 2 and shown == stored and stored


def test_each_task_has_the_range_of_the_papers_hosts(paper_level: ModuleType) -> None:
    """By hand, from table 1 of the paper."""
    table = paper_level.table(paper_level.cells(*STORED))
    for task, said in (("counting", "0.9763 to 0.9999"), ("MNIST", "0.9496 to 0.9761"), ("CIFAR", "0.5858 to 0.6910")):
        assert re.search(rf"^\| {task}[^|]*\| \*the paper's \d\*[^|]*\|[ |]*\*{said}\*", table, re.M)


def test_collected_folders_add_up(tmp_path: Path) -> None:
    """Runs of two output folders, one of them planned in both: once each, in their order, unfinished ones left out."""
    collect = runpy.run_path(str(ROOT / "results/paper/collect.py"))["collect"]
    for folder, runs in (("one", ["a", "b"]), ("two", ["b", "c"])):
        (tmp_path / folder / "plans").mkdir(parents=True)
        plan = [{"run": run, "folder": folder} for run in runs]
        (tmp_path / folder / "plans/table1.json").write_text(json.dumps(plan))
        (tmp_path / folder / "runs" / runs[1]).mkdir(parents=True)
        for name in ("result.json", "config.toml", "program.safetensors"):
            (tmp_path / folder / "runs" / runs[1] / name).write_text(folder)
        (tmp_path / folder / "runs/begun").mkdir()
        for name in ("config.toml", "checkpoint.safetensors", "checkpoint.previous.safetensors", "run.json", "lock"):
            (tmp_path / folder / "runs/begun" / name).write_text(folder)
        if folder == "two":  # It was finished in the meantime.
            (tmp_path / folder / "runs/begun/result.json").write_text(folder)
            (tmp_path / folder / "runs/begun/program.safetensors").write_text(folder)
        assert collect(tmp_path / folder, tmp_path / "kept", ["c"]) == (1 if folder == "one" else 2)
        left = sorted(path.name for path in (tmp_path / "kept/begun/begun").glob("*"))
        assert left == (["checkpoint.safetensors", "config.toml"] if folder == "one" else [])
    plan = json.loads((tmp_path / "kept/plans/table1.json").read_text())
    assert [(line["run"], line["folder"]) for line in plan] == [("a", "one"), ("b", "two"), ("c", "two")]
    found = sorted(str(path.relative_to(tmp_path / "kept/runs")) for path in (tmp_path / "kept/runs").glob("*/*"))
    of_c = [f"c/{name}" for name in ("config.toml", "program.safetensors", "result.json")]
    of_begun = ["begun/config.toml", "begun/result.json"]
    assert found == ["b/config.toml", "b/result.json", *of_begun, *of_c]
