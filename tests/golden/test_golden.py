"""What must stay: a stored program file with its scores, and the public names."""

import json
from pathlib import Path

import pytest
import torch

import reprogram
from reprogram.programfile.file import read

HERE = Path(__file__).parent

PUBLIC = [
    "AuditReport", "Box", "BudgetError", "Canvas", "ConfigError", "DataError", "DefenceComparison", "Detector",
    "Evaluation", "ExportParityError", "FileAnswer", "FitOptions", "FitProgress", "FitResult", "Framed", "Gate",
    "Geometry", "Host", "HostInfo", "HostMismatchError", "HostSource", "HostUnavailableError", "LabelMap", "Learner",
    "ProcessLostError", "Program", "ProgramFileError", "ReprogramError", "Reprogrammed", "SharedHost", "Split",
    "Task", "TaskSource", "Tracker", "Tracking", "Verdict", "WriteError", "__version__", "audit", "authorise",
    "detect", "evaluate", "export", "fit", "load", "load_detector", "load_host", "load_task", "predict_files", "pull",
    "push", "serve", "wilson_interval",
]  # fmt: skip


def golden_host():
    """Weights without a random number: the same on every machine."""
    weight = torch.sin(torch.arange(12 * 432, dtype=torch.float64).view(12, 432) * 0.37) / 20
    return reprogram.Host.wrap(
        lambda x: torch.tanh(x.flatten(1).double() @ weight.T).float() * 5,
        size=12, mean=(0.5,) * 3, std=(0.25,) * 3, name="golden",
    )  # fmt: skip


def golden_images():
    """Eight task images without a random number."""
    return (torch.arange(8 * 3 * 6 * 6).view(8, 3, 6, 6) * 37 % 256).to(torch.uint8)


@pytest.fixture
def stored():
    return json.loads((HERE / "program-v1.json").read_text())


def test_a_program_file_of_version_1_still_loads_and_scores(stored, tmp_path):
    path = HERE / "program-v1.safetensors"
    assert path.stat().st_size < 30_000
    model = reprogram.load(path, host=golden_host())
    with torch.no_grad():
        scores = model(golden_images())
    torch.testing.assert_close(scores, torch.tensor(stored["scores"]), rtol=1e-5, atol=1e-5)
    assert model.save(tmp_path / "again").read_bytes() == path.read_bytes()


def test_its_header_is_read_as_it_was_written(stored):
    header = read(HERE / "program-v1.safetensors").header.model_dump(mode="json", exclude_unset=True)
    assert header == stored["header"]


def test_learning_is_the_same_to_the_last_digit_it_promises(stored):
    """The program that was stored is learned again: a refactor that changes numbers shows here."""
    labels = torch.arange(40) % 4
    images = (torch.arange(40 * 108).view(40, 3, 6, 6) * 29 % 200).to(torch.uint8) + labels.view(
        -1, 1, 1, 1
    ).byte() * 15
    split = reprogram.Split(images=images, labels=labels)
    task = reprogram.Task(name="golden", train=split, validation=split, test=split, class_names=tuple("abcd"))
    model = reprogram.Reprogrammed.build(
        golden_host(), task, program="frame(init=0.1)", label_map="many-to-one(labels_per_class=2, seed=5)", seed=11
    )
    fitted = reprogram.fit(
        model,
        task,
        learner="gradient(penalty=0.001)",
        epochs=3,
        batch_size=8,
        sampling="shuffled",
        validations=1,
        seed=7,
    )
    assert fitted.best_step == stored["best_step"]
    losses = [row["loss"] for row in fitted.history]
    assert losses == pytest.approx(stored["losses"], rel=1e-4)
    weight = read(HERE / "program-v1.safetensors").tensors["program.weight"]
    torch.testing.assert_close(model.program.weight.detach(), weight, rtol=1e-3, atol=1e-4)


def test_the_public_names_are_frozen():
    assert sorted(reprogram.__all__) == PUBLIC


def test_the_exit_codes_are_frozen():
    codes = {
        "ReprogramError": 3,
        "ConfigError": 3,
        "DataError": 3,
        "BudgetError": 3,
        "ProgramFileError": 4,
        "HostMismatchError": 5,
        "HostUnavailableError": 5,
        "ExportParityError": 6,
    }
    for name, code in codes.items():
        error = getattr(reprogram, name)
        assert error.exit_code == code and issubclass(error, reprogram.ReprogramError)
    assert issubclass(reprogram.ConfigError, ValueError)
