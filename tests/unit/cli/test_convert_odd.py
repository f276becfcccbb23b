"""Checkpoints that safetensors can't hold, and odd names: one line each, and nothing is left behind."""

import warnings

import pytest
import torch
from safetensors.torch import load_file

import reprogram
from helpers_runs import cli
from reprogram.cli.convert import convert


def sparse():
    return torch.eye(3).to_sparse()


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    "state,texts",
    [
        (lambda: {"a": torch.ones(2, dtype=torch.complex128)}, ["'a'", "complex128"]),
        (lambda: {"a": sparse()}, ["'a'", "sparse"]),
        (lambda: {"a": torch.ones(2, device="meta")}, ["'a'", "meta"]),
        (lambda: {1: torch.ones(2), "1": torch.zeros(2)}, ["two entries", "'1'"]),
        (lambda: [torch.ones(2)], ["no named tensors"]),
        (lambda: torch.ones(2), ["no named tensors"]),
        (lambda: {"state_dict": {"state_dict": {}}}, ["no named tensors"]),
    ],
)
def test_what_safetensors_can_not_hold_is_refused(state, texts, tmp_path, one_line):
    torch.save(state(), tmp_path / "a.pt")
    with pytest.raises(reprogram.ConfigError) as error:
        convert(tmp_path / "a.pt", tmp_path / "b.safetensors")
    one_line(error, "a.pt", *texts)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_a_target_in_no_folder_is_refused(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pt")
    for target in (tmp_path / "no" / "b.safetensors", tmp_path / f"{'b' * 300}.safetensors"):
        code, out, err = cli("convert", tmp_path / "a.pt", target)
        assert (code, out) == (3, "") and err.startswith("reprogram: ") and err.count("\n") == 1, err


def test_views_shared_and_conjugate_tensors_are_written(tmp_path):
    whole = torch.arange(12.0).view(3, 4)
    state = {"a": whole, "b": whole, "c": whole.t(), "d": whole[:, 1], "e": torch.nn.Parameter(whole[:0])}
    torch.save(state, tmp_path / "a.pt")
    assert convert(tmp_path / "a.pt", tmp_path / "b.safetensors") == 5
    found = load_file(tmp_path / "b.safetensors")
    assert all(torch.equal(found[name], value) for name, value in state.items())


@pytest.mark.parametrize("name", ["w.PTH", "w.Pt", "w.weights", "w.safetensors"])
def test_a_pickle_by_any_name_is_known(name, tmp_path, one_line):
    torch.save({"a": torch.ones(2)}, tmp_path / name)
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.load_host(f"checkpoint:{tmp_path / name}?architecture=timm:test_resnet")
    one_line(error, "pickle", "reprogram convert")
