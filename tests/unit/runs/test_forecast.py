"""What a run asks of its host is counted before the start and shown while it goes on; oracle: the host's meter."""

import dataclasses
import json
import time

import pytest

import reprogram
from helpers import random_task
from helpers_runs import cli
from reprogram.errors import BudgetError, ConfigError
from reprogram.evaluation.from_scratch import expected_seconds, train
from reprogram.hosts._factory import load_host
from reprogram.report.examples import COUNT
from reprogram.runs.asked import AskedLog
from reprogram.runs.config import from_values
from reprogram.runs.execute import execute
from reprogram.runs.folder import RunFolder
from reprogram.runs.forecast import LEARNING, MAP, REPORT, TEST, VALIDATIONS, Forecast, Part, forecast
from reprogram.runs.measure import build
from reprogram.runs.progress import RunProgress
from reprogram.tasks._factory import load_task
from reprogram.training.results import FitProgress
from reprogram.utils.text import duration

HOST = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"
RUN = {"host": HOST, "task": "squares(train=160, validation=40, test=60)", "batch_size": 16, "device": "cpu"}
BASELINES = ("map-alone", "all-scores", "linear-probe")


def forecast_of(values, *, processes=0):
    config = from_values(values)
    host, task = load_host(config.host), load_task(config.task)
    model = build(config, host, task)
    before = dataclasses.replace(host.meter)
    made = forecast(config, model, task, processes=processes)
    assert host.meter == before
    return made


@pytest.mark.parametrize(
    "options",
    [
        {"images": 320, "baselines": BASELINES},
        {"epochs": 1.5, "validations": 4, "validation_images": 7, "test_images": 20, "baselines": ("map-alone",)},
        {"images": 64, "label_map": "frequency", "baselines": BASELINES},
        {"epochs": 1, "label_map": "discriminant", "loss": "task", "baselines": BASELINES},
        {"images": 48, "validations": 10, "batch_size": 24, "baselines": ()},
    ],
)
def test_the_forecast_is_what_the_meter_counts(tmp_path, options):
    values = {**RUN, **options, "out": str(tmp_path / "a")}
    parts = forecast_of(values).parts
    result = execute(from_values(values))
    # The pictures of the report, and what the program adds to the scores of at most 16 images.
    assert parts[REPORT].images == COUNT + 2 * {60: 15, 20: 10}[result["test"]["n"]]
    assert sum(part.images for part in parts.values()) == result["host_images"]
    assert parts[LEARNING].images == result["images_seen"] and parts[TEST].images == result["test"]["n"]


AVERAGED = f"averaged:(defended:({HOST})?by=noise(deviation=0.1))?times=3"


def test_every_answer_of_an_averaged_host_is_forecast(tmp_path):
    values = {**RUN, "host": AVERAGED, "images": 64, "baselines": ("map-alone",), "out": str(tmp_path / "a")}
    made = forecast_of(values)
    assert made.most_images == execute(from_values(values))["host_images"]
    assert made.parts[TEST].images == 3 * 60


@pytest.mark.parametrize("host", [HOST, AVERAGED])
def test_a_run_that_its_limit_would_end_is_refused_before_it_asks(tmp_path, host):
    values = {**RUN, "host": host, "images": 64, "baselines": ("map-alone",), "out": str(tmp_path / "a")}
    most = forecast_of(values).most_images
    with pytest.raises(BudgetError, match=rf"--total-queries {most - 1:,}: the run asks for up to {most:,}"):
        execute(from_values({**values, "total_queries": most - 1}))
    assert not (tmp_path / "a").exists()
    loaded = load_host(host).meter.images  # Loading asks some hosts for an image or two.
    result = execute(from_values({**values, "total_queries": most + loaded}))
    assert result["host_images"] == most


def test_what_a_killed_process_asked_counts_before_the_start(tmp_path):
    values = {**RUN, "images": 64, "baselines": ("map-alone",), "out": str(tmp_path / "a")}
    most, folder = forecast_of(values).most_images, RunFolder(tmp_path / "a")
    folder.path.mkdir()
    folder.begin(from_values(values))
    folder.asked.write_text("16\n" * 3)  # It was killed before its first checkpoint.
    with pytest.raises(BudgetError, match="and 48 were asked before"):
        execute(from_values({**values, "total_queries": most + 47}))
    assert folder.asked.read_text() == "16\n" * 3
    loaded = load_host(HOST).meter.images
    result = execute(from_values({**values, "total_queries": most + 48 + loaded}))
    assert result["host_images"] == most
    assert AskedLog(folder.asked).total == most + 48 + loaded


def test_what_a_killed_process_asked_is_no_other_runs(tmp_path, one_line):
    values = {**RUN, "images": 64, "baselines": (), "out": str(tmp_path / "a")}
    folder = RunFolder(tmp_path / "a")
    folder.path.mkdir()
    folder.begin(from_values(values))
    folder.asked.write_text("load 2\n")
    assert folder.prepare(from_values({**values, "seed": 1})) == "new"  # It was refused before it began.
    folder.asked.write_text("load 2\n16\n")
    assert folder.prepare(from_values(values)) == "new"
    with pytest.raises(ConfigError) as error:
        folder.prepare(from_values({**values, "seed": 1}))
    one_line(error, "interrupted run with seed=0, not 1")


def test_timing_changes_nothing_of_the_run(tmp_path):
    values = {**RUN, "images": 160, "baselines": ("map-alone",), "label_map": "frequency"}
    said: list[str] = []
    plain = execute(from_values({**values, "out": str(tmp_path / "a")}))
    timed = execute(from_values({**values, "out": str(tmp_path / "b")}), say=said.append, estimate=True)
    programs = [(tmp_path / name / "program.safetensors").read_bytes() for name in "ab"]
    assert programs[0] == programs[1] and plain["host_images"] == timed["host_images"]
    (line,) = [line for line in said if line.startswith("asks the host")]
    assert "160 to learn from" in line and "60 for the test" in line and "in all" in line


def test_every_part_is_timed_and_a_function_is_never_asked():
    made = forecast_of({**RUN, "images": 160, "baselines": BASELINES}, processes=1)
    assert all(part.seconds > 0 for name, part in made.parts.items() if name != MAP) and made.seconds_after(TEST) > 0
    calls, task = [], random_task()

    def classifier(images):
        calls.append(len(images))
        return images.mean(dim=(2, 3)).repeat(1, 4)

    model = reprogram.Reprogrammed.build(reprogram.Host.wrap(classifier, size=16), task)
    calls.clear()
    untimed = forecast(from_values({"images": 160, "baselines": ()}), model, task, processes=1)
    assert not calls and all(part.seconds_per_image is None for part in untimed.parts.values())
    assert "shows as it goes on" in untimed.line()


def made_up(**images):
    speeds = {LEARNING: 0.04, MAP: 0.01, VALIDATIONS: 0.01, TEST: 0.01, "map-alone": 0.01, "linear-probe": 0.05}
    parts = {name: Part(name=name, images=images[name], seconds_per_image=speeds[name]) for name in speeds}
    return Forecast(parts=parts, seconds=None, num_validations=10)


EXAMPLE = {LEARNING: 1600, MAP: 0, VALIDATIONS: 2500, TEST: 10_000, "map-alone": 10_000, "linear-probe": 12_000}


def test_the_line_adds_up():
    forecast_line = Forecast(
        parts={**made_up(**EXAMPLE).parts, REPORT: Part(name=REPORT, images=12, seconds_per_image=0.0)},
        seconds=None,
        num_validations=10,
    ).line()
    assert "36,112 images" in forecast_line and "22,000 for baselines" in forecast_line
    # 1600 · 0.04 + 2500 · 0.01 + 10,000 · 0.01 + 10,000 · 0.01 + 12,000 · 0.05 = 889 s
    assert "about 15 min in all" in forecast_line


def test_the_time_left_has_validations_test_and_baselines():
    """All parts go at twice the forecast's time: after the first validation, what is left is twice of it too."""
    seen = []
    progress = RunProgress(made_up(**EXAMPLE), seen.append)
    state = FitProgress(fraction=0.0, images=0, seconds=0.0, loss=1.0, validation=None, images_per_s=25.0)
    progress.on_fit(dataclasses.replace(state, images=16, seconds=0.64))
    assert seen[-1].seconds_left == pytest.approx(889 - 0.64)

    class Measured:
        n, accuracy = 250, 0.5

    slow = dataclasses.replace(
        state,
        images=160,
        images_per_s=12.5,
        seconds=160 / 12.5 + 250 * 0.02,
        validation=Measured(),
        history=[{}],
    )
    progress.on_fit(slow)
    assert seen[-1].seconds_left == pytest.approx(2 * (889 - 160 * 0.04 - 250 * 0.01))


def test_test_and_baselines_show_progress_to_the_end(tmp_path):
    seen = []
    values = {**RUN, "images": 64, "test_images": 60, "baselines": BASELINES, "out": str(tmp_path / "a")}
    execute(from_values(values), on_progress=seen.append, estimate=True)
    stages = list(dict.fromkeys(state.stage for state in seen))
    assert sorted(stages[:2]) == ["learning", "validation"]
    assert stages[2:] == ["the test", *(f"the baseline {name}" for name in BASELINES)]
    for stage in stages[2:]:
        fractions = [state.stage_fraction for state in seen if state.stage == stage]
        assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert all(state.seconds_left is not None and state.seconds_left >= 0 for state in seen)


def test_a_limit_of_seconds_and_what_is_not_known_are_said():
    expected = forecast_of({**RUN, "seconds": 30, "baselines": ("map-alone", "untrained")}, processes=1)
    line = expected.line()
    assert line.startswith("learns for 30 s at the most; then asks the host for 162 images") and "without" not in line
    assert expected.parts["untrained"].seconds == pytest.approx(30 + expected.parts[TEST].seconds)
    untimed = forecast_of({**RUN, "images": 64, "baselines": ("untrained", "direct-training")}, processes=0)
    assert untimed.parts["untrained"].seconds is untimed.parts["direct-training"].seconds is None


def test_what_the_host_is_not_asked_for_takes_time_too():
    """The untrained host does the run again; the small net's time is that of the steps and passes that it takes."""
    expected = forecast_of({**RUN, "images": 64, "baselines": ("untrained", "direct-training")}, processes=1)
    parts = expected.parts
    again = sum(parts[name].seconds for name in (LEARNING, MAP, VALIDATIONS, TEST))
    assert parts["untrained"].images == parts["direct-training"].images == 0
    assert parts["untrained"].seconds == pytest.approx(again)
    task = load_task(RUN["task"])
    ratios = []  # Others on the machine may stretch either of the two, but not all of them.
    for _ in range(6):
        start = time.monotonic()
        train(task, "convolutional", 1280, seed=0)
        ratios.append((time.monotonic() - start) / expected_seconds(task, "convolutional", 1280))
    assert any(1 / 4 < ratio < 4 for ratio in ratios), ratios
    assert parts["direct-training"].seconds > 0 and expected.seconds_after(VALIDATIONS) > again


def test_the_command_line_says_it_before_the_start_and_not_when_quiet(tmp_path):
    flags = ("fit", "--host", HOST, "--task", RUN["task"], "--images", "64", "--baselines", "none", "--json")
    code, out, err = cli(*flags, "--out", tmp_path / "a")
    lines = err.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("asks the host for"))
    assert code == 0 and json.loads(out)["splits"] and lines[at + 1].startswith("learning from")
    assert "asks the host" not in cli(*flags, "--out", tmp_path / "b", "--quiet")[2]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1:00 min"),
        (127, "2:07 min"),
        (1110, "18 min"),
        (3599, "1:00 h"),
        (9000, "2:30 h"),
    ],
)
def test_a_time_has_no_more_digits_than_it_is_worth(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("learner", "losses"), [("rgf(directions=4)", 5), ("spsa", 2)])
def test_a_learner_that_only_asks_is_forecast_by_what_it_asks(tmp_path, learner, losses):
    task = "squares(train=32, validation=8, test=8)"
    flags = ["fit", "--host", "linear:40", "--task", task, "--learner", learner, "--images", "32", "--batch-size", "8"]
    flags += ["--validations", "1", "--baselines", "none"]
    code, _, err = cli(*flags, "--out", tmp_path / "a")
    assert code == 0, err
    counted = json.loads((tmp_path / "a/result.json").read_bytes())["host_images"]
    learned = 32 * losses
    assert f"{learned:,} at the most to learn from" in err and counted == learned + 8 + 8 + 24
    # The last 24 are for the report: 8 pictures, and 8 images with and without the program.
    assert f"asks the host for {learned + 8 + 8 + 24:,} images" in err
