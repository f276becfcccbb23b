"""The benchmarks' own code: arms for any host, one JSON object, the suite, the page; and that the engine is faster."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

from helpers import ROOT, ConvNet, seeded
from reprogram import ConfigError, Host

SCHEMA = json.loads((ROOT / "benchmarks/step.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs/_ext"))
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "benchmarks/step.py", "--threads", "1", "--json", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def result_of(*arguments: str) -> dict[str, Any]:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def made_up(case: Any, faster: float = 2.0) -> dict[str, Any]:
    """A result as step.py would print it."""
    seconds = {"peers": 0.2 * faster, "unfrozen": 0.3 * faster, "folded": 0.18 * faster, "engine": 0.2}
    if case.inference:
        del seconds["unfrozen"]
    arms = {
        name: {
            "rounds": 1,
            "median_s": value,
            "quartiles_s": [0.9 * value, 1.1 * value],
            "minimum_s": value,
            "readings_s": [value],
            "images_per_s": case.batch / value,
            "peak_memory_bytes": 2**24,
        }
        for name, value in seconds.items()
    }
    return {
        "schema": 1,
        "command": " ".join(["python benchmarks/step.py", *case.arguments(), "--json"]),
        "host": case.host,
        "channels": 3,
        "canvas": [224, 224],
        "window": case.window,
        "batch": case.batch,
        "classes": case.classes,
        "threads": 1,
        "mode": "inference" if case.inference else "train",
        "seed": 0,
        "arms": arms,
        "ratio_engine_over_dense": faster,
        "ratio_engine_over_unfrozen": None if case.inference else 1.5 * faster,
        "ratio_engine_over_folded": 0.9 * faster,
        "machine": {"processor": "made up", "cores": 2, "system": "none"},
        "versions": {"reprogram": "0", "python": "3", "torch": "2", "torchvision": "0", "timm": "1"},
        "commit": None,
        "uncommitted_changes": None,
    }


@pytest.mark.slow
def test_the_engine_is_faster_than_dense_execution() -> None:
    """Ratios of about 7 and 4 on a quiet machine; the margins leave room for a busy one, which gets a second chance."""
    arguments = ["--host", "timm:test_resnet?pretrained=0", "--window", "14", "--batch", "32", "--seconds", "1"]
    arguments += ["--arms", "peers,folded,engine", "--no-memory"]
    for _ in range(2):
        result = result_of(*arguments)
        jsonschema.validate(result, SCHEMA)
        if result["ratio_engine_over_dense"] > 2 and result["ratio_engine_over_folded"] > 1.5:
            return
    pytest.fail(f"over peers {result['ratio_engine_over_dense']:.2f}, folded {result['ratio_engine_over_folded']:.2f}")


@pytest.mark.slow
def test_a_host_of_one_channel_covered_by_the_window_in_batches_of_one() -> None:
    host = "linear(size=16, channels=1, num_classes=4)"
    result = result_of("--host", host, "--window", "16", "--batch", "1", "--seconds", "0", "--arms", "engine")
    jsonschema.validate(result, SCHEMA)
    assert (result["classes"], result["channels"], result["canvas"]) == (4, 1, [16, 16])
    assert result["ratio_engine_over_dense"] is None
    if sys.platform == "linux":
        assert result["arms"]["engine"]["peak_memory_bytes"] is not None
    assert "--host 'linear(size=16, channels=1, num_classes=4)'" in result["command"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--host", "nowhere"], "nowhere"),
        (["--host", "linear:16", "--window", "17"], "larger than the host's input of 16x16"),
        (["--window", "0"], "whole number of at least 1"),
        (["--seconds", "nan"], "number of seconds"),
        (["--arms", "dense"], "isn't one of"),
        (["--arms", "unfrozen", "--inference"], "need no gradient"),
    ],
)
def test_bad_input_is_one_line_and_no_object(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import step

    monkeypatch.setattr(step, "start_torch", lambda threads: None)  # This process goes on.
    try:
        code = step.main([*arguments, "--json"])
    except SystemExit as error:
        code = error.code
    told = capsys.readouterr()
    assert code
    assert not told.out
    assert text in told.err and told.err.count("\n") == 1 and told.err.startswith("step.py: ")


@pytest.mark.parametrize("train", [True, False], ids=["train", "inference"])
@pytest.mark.parametrize("arm", ["peers", "unfrozen", "folded", "engine"])
@pytest.mark.parametrize(
    ("size", "window", "batch"), [((23, 32), 9, 3), ((23, 32), 23, 2), ((24, 24), 24, 1), ((32, 17), 4, 1)]
)
def test_every_arm_runs_on_any_host(
    arm: str, train: bool, size: tuple[int, int], window: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import arms

    def load_host(spec: str) -> Host:
        return Host.wrap(seeded(lambda: ConvNet(num_classes=5, channels=2)), size=size, channels=2)

    monkeypatch.setattr(arms, "load_host", load_host)
    assert arms.examine("own", window).num_classes == 5
    call = arms.build(arm, host="own", window=window, batch=batch, num_classes=5, train=train)
    first, second = call(), call()
    if train:
        assert first != second, "the program must be learned"
    else:
        assert isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor)
        assert first.shape == (batch, 5) and torch.equal(first, second)


def test_a_host_that_does_not_run_is_refused() -> None:
    import arms

    with pytest.raises(ConfigError, match="8x8 pixels failed"):
        arms.examine("torchvision:squeezenet1_1?pretrained=0&size=8", 4)


def test_the_suite_skips_what_is_there_and_goes_on_after_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import suite

    fake = tmp_path / "step.py"
    printed = json.dumps(made_up(suite.TRAINING[0]))
    fake.write_text(f"import sys\nsys.exit('no luck') if '96' in sys.argv else print({printed!r})\n", encoding="utf-8")
    monkeypatch.setattr(suite, "STEP", fake)
    chosen = ["--only", "torchvision-resnet18.train.*", "--out", str(tmp_path / "bench")]
    assert suite.main(chosen) == 1
    assert "failed: no luck" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "bench").iterdir()) == [
        f"torchvision-resnet18.train.window{window}.batch16.classes10.json" for window in (128, 28)
    ]
    assert suite.main(chosen) == 1
    assert capsys.readouterr().out.count("there already") == 2
    assert suite.main([*chosen, "--again", "--list"]) == 0
    with pytest.raises(SystemExit):
        suite.main(["--only", "nothing"])


def test_the_suite_names_every_case_once() -> None:
    import suite

    listed = {*suite.TRAINING, *suite.INFERENCE, *(case for row in suite.GROWTH.values() for case in row.values())}
    assert len(suite.cases()) == len(listed)


@pytest.mark.parametrize("share", [0, 1, 2], ids=["none", "some", "all"])
def test_the_page_is_made_from_whatever_is_there(share: int, tmp_path: Path) -> None:
    import suite

    import benchmarks

    folder, static = tmp_path / "bench", (tmp_path / "a", tmp_path / "b")
    folder.mkdir()
    cases = list(suite.cases().values())
    there = [case for i, case in enumerate(cases) if share == 2 or (share == 1 and i % 5 == 0)]
    for i, case in enumerate(there):
        result = made_up(case, faster=0.5 + i % 4)
        jsonschema.validate(result, SCHEMA)
        (folder / f"{case.name}.json").write_text(json.dumps(result), encoding="utf-8")
    text = benchmarks.page(benchmarks.PAGE.read_text(encoding="utf-8"), folder)
    assert benchmarks.page(text, folder) == text
    assert all(f"`{json.loads(path.read_text())['command']}`" in text for path in folder.iterdir())
    assert (benchmarks.NONE in text) == (share == 0)
    for place in static:
        benchmarks.draw(place, folder)
    for name in ("bench-training.svg", "bench-growth.svg"):
        assert (static[0] / name).exists() == (share > 0) == (f"_static/{name}" in text)
        if share:
            assert (static[0] / name).read_bytes() == (static[1] / name).read_bytes()


def test_more_threads_are_compared_in_one_process() -> None:
    host = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"
    command = [sys.executable, "benchmarks/threads.py", "--host", host, "--window", "16", "--batch", "4"]
    done = subprocess.run(
        [*command, "--seconds", "0.1", "--json"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    rows = json.loads(done.stdout)["rows"]
    ways = ("threads", "processes", "runs")
    ours = [f"ours, {precision}, {{}} {way}" for precision in ("float32", "auto") for way in ways]
    assert [row["arm"] for row in rows] == [
        name.format(count) for count in (1, 2) for name in ("peers, {} threads", *ours)
    ]
    assert all(row["times_as_fast"] == 1 for row in rows if " 1 " in row["arm"])
    assert all(0 < row["images_per_s"] < 1e6 for row in rows)


def defences() -> Any:
    """The module of the benchmark: docs/_ext has one of the same name."""
    spec = importlib.util.spec_from_file_location("benchmark_of_defences", ROOT / "benchmarks/defences.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted((ROOT / "results/defences").glob("*.toml")), ids=lambda path: path.stem)
def test_the_plans_of_defences_are_valid(path: Path) -> None:
    module = defences()
    assert all(cell["attacker"] for cell in module.cells(module.read_plan(path)))


@pytest.mark.parametrize(
    "change,text",
    [
        (("name = ", "nome = "), "nome is no part of a plan"),
        (("seeds = [0]", 'seeds = "a"'), "seeds: 'a'; a list is expected"),
        (("[rungs.weights.adam]", "[rungs.weights.adm]"), "static.weights: give one of adm"),
        (("[rungs.label.views]", "[rungs.labels.views]"), "'weights', 'scores' or 'label' is expected"),
        (('learner = "adam"', 'lerner = "adam"'), "did you mean 'learner'?"),
        (("jpeg(quality=75)", "jpg(quality=75)"), "did you mean 'jpeg'?"),
        (('only = ["random', 'only = ["rondom'), "is no defence of the plan"),
        (('host = "efficientnet-lite0"', 'host = "efficientnet-lite9"'), "efficientnet-lite9"),
    ],
)
def test_a_wrong_plan_of_defences_is_one_line(
    change: tuple[str, str],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = (ROOT / "results/defences/lite0.toml").read_text(encoding="utf-8")
    (tmp_path / "plan.toml").write_text(plan.replace(*change), encoding="utf-8")
    threads = torch.get_num_threads()
    monkeypatch.setattr(sys, "argv", ["defences.py", "runs", str(tmp_path / "plan.toml")])
    assert defences().main() == 2
    torch.set_num_threads(threads)
    said = capsys.readouterr().err
    assert text in said and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["plan.toml"]
