"""Every program, label map and canvas can be captured as a graph that answers as the model does, and is folded."""

import itertools
import os
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import reprogram
from helpers import ConvNet, seeded
from reprogram.exporters._graph import folded
from reprogram.exporters._pipeline import Pipeline
from reprogram.registry import find, format_spec, names

BATCHES = (1, 3, 17)


def spec_of(family, name):
    variant = find(family, name)
    return format_spec(SimpleNamespace(config=variant.example(), name=variant.name))


def host():
    net = seeded(lambda: ConvNet(num_classes=32, width=4))
    return reprogram.Host.wrap(net, size=48, mean=(0.5,) * 3, std=(0.05,) * 3, name="contract")


def built(task, on, canvas, program, label_map):
    """A model whose label map is fitted where it is fitted at all; None where the program finds no frame."""
    parts = {"canvases": canvas, "programs": program, "label-maps": label_map}
    canvas, program, label_map = (spec_of(family, name) for family, name in parts.items())
    try:
        model = reprogram.Reprogrammed.build(on, task, canvas=canvas, program=program, label_map=label_map, seed=3)
    except reprogram.ConfigError as error:
        assert "covers the whole canvas" in str(error) or "can move by 1 to 0 pixels" in str(error)
        return None
    if model.label_map.refit_schedule != "never":
        with torch.no_grad():
            model.label_map.update(model.host_scores(task.train.images), task.train.labels)
        model.label_map.fit_from_statistics()
    return model


class Together(nn.Module):
    """Several pipelines in one graph: capturing many small ones takes longer."""

    def __init__(self, models):
        super().__init__()
        self.pipelines = nn.ModuleList(map(Pipeline, models))

    def forward(self, images):
        return tuple(pipeline(images)[0] for pipeline in self.pipelines)


def error(ours, theirs):
    """The largest difference of an image's scores over the largest of its scores."""
    return ((ours - theirs).abs().amax(1) / ours.abs().amax(1).clamp(min=1e-30)).max().item()


def test_each_program_canvas_and_label_map_is_captured_and_folded(squares):
    """Each variant occurs once at least, beside others each time; `make combinations` writes all combinations."""
    canvases, maps, on = names("canvases"), names("label-maps"), host()
    models = []
    for i, program in enumerate(names("programs")):
        if find("programs", program).moves:  # Refused, see test_graph.py.
            continue
        for canvas in canvases[i % len(canvases) :] + canvases:
            model = built(squares, on, canvas, program, maps[len(models) % len(maps)])
            if model is not None:
                models.append(model)
                break
    assert {model.canvas.name() for model in models} == set(canvases)
    assert {model.label_map.name() for model in models} == set(maps)
    images = squares.test.images
    with torch.no_grad():
        wanted = [model(images[:17]) for model in models]
        graph = folded(Together(models), images[:2])
        for size in BATCHES:
            for model, ours, theirs in zip(models, wanted, graph(images[:size]), strict=True):
                assert error(ours[:size], theirs) < 1e-4, model
    for node in graph.graph.nodes:  # Nothing is drawn at run time: each operation reads the images.
        if node.op == "call_function":
            assert any(source.op != "get_attr" for source in node.all_input_nodes), node.format_node()


def combinations():
    """All of them with `make combinations`, which takes long; else none."""
    if not os.environ.get("ALL_COMBINATIONS"):
        return []
    programs = [name for name in names("programs") if not find("programs", name).moves]
    return list(itertools.product(names("canvases"), programs, names("label-maps")))


@pytest.mark.parametrize("canvas,program,label_map", combinations())
def test_every_combination_is_exported_to_onnx(canvas, program, label_map, squares, tmp_path):
    model = built(squares, host(), canvas, program, label_map)
    if model is not None and not model.program.varies:
        done = reprogram.export(model, tmp_path / "a.onnx", task=squares)
        assert done.check.error <= 1e-4 and done.check.images == 60
