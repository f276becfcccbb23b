"""Captured graphs: constants are folded, resizes are products, and what can't be captured is named with its reason."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import reprogram
from helpers import random_task, tiny_model
from reprogram.exporters._graph import capture, folded
from reprogram.exporters._pipeline import Pipeline


class Odd(nn.Module):
    """Resizes with antialiasing both ways, and writes into a constant and into a part of one."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(12.0).view(1, 1, 3, 4) / 12)

    def forward(self, images):
        small = F.interpolate(images, size=(3, 4), mode="bilinear", antialias=True)
        large = F.interpolate(images, size=(11, 5), mode="bicubic", antialias=True, align_corners=True)
        canvas = torch.zeros(4, 5)
        canvas[1:] = 2.0
        drawn = torch.tanh(self.weight).mul_(3).sin_()
        dense = canvas.repeat(images.shape[0], 1, 1)
        dense[:, 1:, 1:] = (small * drawn).sum(1)
        return dense, large


def test_a_folded_graph_computes_the_same_and_draws_nothing():
    net, images = Odd(), torch.rand(5, 2, 7, 6, generator=torch.Generator().manual_seed(0))
    before = net.weight.detach().clone()
    graph = folded(net, images[:2])
    for size in (1, 5):
        for ours, theirs in zip(net(images[:size]), graph(images[:size]), strict=True):
            torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-6)
    assert torch.equal(net.weight, before)
    called = [node for node in graph.graph.nodes if node.op == "call_function"]
    assert all(any(source.op != "get_attr" for source in node.all_input_nodes) for node in called)
    assert not {"tanh", "sin", "_upsample_bilinear2d_aa"} & {node.target.__name__.partition(".")[0] for node in called}


def test_a_resize_as_products_is_pytorchs_own_to_the_last_digit():
    """So pixels that lie half-way between two levels are rounded as by the model, where a program rounds.

    Here all numbers are equal; with the products in the other order a quarter differs. Other processors may sum anew.
    """
    images = torch.randint(0, 256, (3, 1, 8, 8), generator=torch.Generator().manual_seed(0)) / 255
    net = Resizes()
    ours, theirs = net(images), folded(net, images[:2])(images)
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-6)
    assert (theirs != ours).float().mean() < 0.05


class Resizes(nn.Module):
    def forward(self, images):
        return F.interpolate(images, size=(224, 113), mode="bilinear", antialias=True)


class Counts(nn.Module):
    def forward(self, x):
        return x.new_zeros(len(x), 6) + x.mean((1, 2, 3))[:, None]


class Decides(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :6] if x.mean() > 0 else x.flatten(1)[:, 6:12]


class Leaves(nn.Module):
    def forward(self, x):
        return torch.from_numpy(x.detach().numpy()).flatten(1)[:, :6]


@pytest.mark.parametrize(
    "net,reason", [(Counts(), "`len(x)` does so"), (Decides(), "by the values"), (Leaves(), "NumPy")]
)
def test_a_host_that_cannot_be_captured_is_named_with_the_reason(net, reason, one_line):
    task = random_task()
    host = reprogram.Host.wrap(net, size=16, name="odd", access="gradient")
    model = reprogram.Reprogrammed.build(host, task)
    with pytest.raises(reprogram.ConfigError) as error:
        capture(Pipeline(model), task.test.images[:2])
    one_line(error, "host odd can't be exported: ", reason)


def test_a_program_or_map_that_cannot_be_captured_is_named(one_line, monkeypatch):
    task, model = random_task(), tiny_model()
    pipeline = Pipeline(model)
    monkeypatch.setattr(pipeline.label_map, "run", lambda scores: scores[:, :4] * float(scores.max()))
    with pytest.raises(reprogram.ConfigError) as error:
        capture(pipeline, task.test.images[:2])
    one_line(error, "label map first can't be exported: its code decides by the values")
    pipeline = Pipeline(model)
    draw = pipeline.program.draw
    monkeypatch.setattr(pipeline.program, "draw", lambda framed: draw(framed) if framed.window.sum() > 0 else framed)
    with pytest.raises(reprogram.ConfigError) as error:
        capture(pipeline, task.test.images[:2])
    one_line(error, "program frame can't be exported: its code decides by the values")


@pytest.mark.parametrize("program", ["jittered(pixels=2)", "dithered", "disguised(pixels=1)", "ensemble"])
def test_programs_with_a_frame_for_each_image_are_refused(program, one_line, tmp_path):
    task = random_task()
    model = reprogram.Reprogrammed.build(tiny_model().host, task, program=program)
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.export(model, tmp_path / "a.onnx", task=task)
    one_line(error, f"program {model.program.name()} can't be exported: it is drawn anew for each image")
    assert not [*tmp_path.iterdir()]


def test_hosts_that_only_answer_are_refused(one_line, tmp_path):
    task = random_task()
    asked = reprogram.Host.wrap(
        lambda x: [[("a", 1.0)]] * len(x), size=16, name="asked", outputs="top-k", class_names=[*"abcd"]
    )
    restricted = reprogram.load_host("restricted(host='linear:32?num_classes=20', access='scores')")
    for host in (asked, restricted):
        model = reprogram.Reprogrammed.build(host, task)
        with pytest.raises(reprogram.ConfigError) as error:
            reprogram.export(model, tmp_path / "m.onnx")
        one_line(error, "it only answers")
    assert not list(tmp_path.iterdir())
