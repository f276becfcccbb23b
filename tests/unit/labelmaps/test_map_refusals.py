"""Maps that make no sense are refused, where they are written and where they are read."""

import pytest
import torch

import reprogram
from helpers import tiny_model
from helpers_components import build_map
from reprogram.registry import configure


@pytest.mark.parametrize(
    "spec,needed",
    [("bayesian", 5), ("greedy", 5), ("linear", 5), ("confidence", 50), ("text(encoder='spelling')", 5)],
)
def test_a_host_of_too_few_labels_is_refused(spec, needed, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        build_map(spec, host=needed - 1)
    one_line(error, str(needed), str(needed - 1))
    assert build_map(spec, host=needed)(torch.zeros(2, needed)).shape == (2, 5)


@pytest.mark.parametrize("spec", ["bayesian", "linear"])
def test_more_weights_than_a_program_file_holds_are_refused_before_they_take_memory(spec, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        build_map(spec, host=10**6, task=2**15)
    one_line(error, "weights")


def spoil_rows(label_map):
    label_map.matrix[1] *= 2


def spoil_sign(label_map):
    label_map.matrix[1, :2] = torch.tensor([-1.0, 2.0])


def spoil_owner(label_map):
    label_map.owner[0] = 4


def spoil_owners(label_map):
    label_map.owner.fill_(0)


def spoil_groups(label_map):
    label_map.groups[0, 0] = label_map.groups[1, 0]


def spoil_spread(label_map):
    label_map.spread.zero_()


@pytest.mark.parametrize(
    "spec,spoil",
    [
        ("bayesian", spoil_rows),
        ("bayesian", spoil_sign),
        ("greedy", spoil_owner),
        ("greedy", spoil_owners),
        ("frequency", spoil_groups),
        ("iterative", spoil_groups),
        ("confidence(labels_per_class=2)", spoil_groups),
        ("text(encoder='spelling')", spoil_groups),
        ("linear(standardize=64)", spoil_spread),
    ],
)
def test_maps_that_make_no_sense_are_refused_when_a_file_is_read(spec, spoil, tmp_path, one_line):
    model = tiny_model(label_map=spec)
    reprogram.load(model.save(tmp_path / "good.safetensors"), host=model.host)
    spoil(model.label_map)
    with pytest.raises(reprogram.ProgramFileError) as error:
        reprogram.load(model.save(tmp_path / "bad.safetensors"), host=model.host)
    one_line(error, "label map")


@pytest.mark.parametrize(
    "bad",
    [
        "bayesian(top_fraction=1.5)",
        "bayesian(top_fraction=-0.1)",
        "bayesian(smoothing=-1)",
        "greedy(refit='always')",
        "confidence(labels_per_class=0)",
        "linear(init='zero')",
        "text",
        "text:words",
    ],
)
def test_bad_options_are_refused(bad, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        configure("label-maps", bad)
    one_line(error, bad.partition("(")[0].partition(":")[0])
