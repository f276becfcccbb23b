"""Which part of a pickle is taken as the weights, what is said of the rest, and why a file can't be read."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import reprogram
from reprogram.cli.convert import convert

WEIGHTS = {"a": torch.ones(2), "b": torch.zeros(3)}
SECTIONS = {
    "params": {"params": WEIGHTS, "step": torch.tensor(3)},
    "one of its own name": {"ema": WEIGHTS, "epoch": 3},
    "nested": {"checkpoint": {"model": {"state_dict": WEIGHTS}}},
    "extra state": {**WEIGHTS, "_extra_state": {"version": 1}},
}


@pytest.mark.parametrize("kind", SECTIONS)
def test_the_section_that_holds_the_weights_is_found(kind, tmp_path):
    torch.save(SECTIONS[kind], tmp_path / "w.pt")
    assert convert(tmp_path / "w.pt", tmp_path / "w.safetensors") == 2
    found = load_file(tmp_path / "w.safetensors")
    assert found.keys() == WEIGHTS.keys() and all(torch.equal(found[key], WEIGHTS[key]) for key in found)


def test_tensors_that_are_left_out_are_named(tmp_path):
    torch.save({"state_dict": WEIGHTS, "state_dict_ema": WEIGHTS, "optimizer": [{"lr": 0.1}]}, tmp_path / "w.pt")
    with pytest.warns(UserWarning, match="of 'state_dict' are taken, those of 'state_dict_ema' left out"):
        convert(tmp_path / "w.pt", tmp_path / "w.safetensors")


REFUSED = {
    "teacher and student": ({"teacher": WEIGHTS, "student": WEIGHTS}, ["'teacher', 'student'", "save these alone"]),
    "beside tensors": ({**WEIGHTS, "more": {"c": torch.ones(1)}}, ["'more'", "save these alone"]),
    "by layers": ({"layer1": WEIGHTS, "layer2": WEIGHTS}, ["'layer1', 'layer2'"]),
    "reserved": ({"__metadata__": torch.ones(1)}, ["__metadata__"]),
    "larger than its memory": ({"a": torch.ones(1).expand(10**6, 10**6)}, ["'a' is repeated"]),
    "module": (torch.nn.Linear(2, 2), ["torch.nn.modules.linear.Linear", "ask for a state dict"]),
    "arrays": ({"a": np.ones(2)}, ["numpy", "ask for a state dict"]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_lost_or_run_is_refused(kind, tmp_path, one_line):
    record, texts = REFUSED[kind]
    torch.save(record, tmp_path / "w.pt")
    with pytest.raises(reprogram.ConfigError) as error:
        convert(tmp_path / "w.pt", tmp_path / "w.safetensors")
    one_line(error, *texts)
    assert "weights_only" not in str(error.value) and not (tmp_path / "w.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"GGUF" + bytes(90), b"\x89HDF\r\n\x1a\n", bytes(1024)])
def test_files_of_other_formats_get_a_reason_of_our_own(content, tmp_path, one_line):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(reprogram.ConfigError) as error:
        convert(tmp_path / "w.pt", tmp_path / "w.safetensors")
    one_line(error, "torch.save didn't write it, or it is damaged")
