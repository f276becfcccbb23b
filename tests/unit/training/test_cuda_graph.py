"""The bookkeeping around a recorded step, with a stand-in for CUDA's graphs; tests/gpu has the real ones."""

import contextlib

import pytest
import torch

import reprogram
from helpers import ConvNet, seeded
from reprogram.training.cuda_graph import EAGER_CALLS, SHAPES, GraphedLoss
from reprogram.training.losses import loss_of


@pytest.fixture
def model(squares):
    net = seeded(lambda: ConvNet(num_classes=32, width=16))
    host = reprogram.Host.wrap(net, size=48, mean=(0.5,) * 3, std=(0.05,) * 3, name="graphed")
    return reprogram.Reprogrammed.build(host, squares, seed=1)


def computed(model, images, labels):
    loss = loss_of(model, images, labels, "host")
    return loss.detach(), torch.autograd.grad(loss, model.learned_parameters())


@pytest.fixture
def graphed(model, monkeypatch):
    """A loss whose graphs compute everything anew when they are replayed, from the recorded memory into it."""
    loss = GraphedLoss(model, "host")

    class Graph:
        def replay(self):
            (recording,) = (r for r in loss._recordings.values() if r.graph is self)
            meter = model.host.meter.calls, model.host.meter.images
            value, gradients = computed(model, recording.images, recording.labels)
            model.host.meter.calls, model.host.meter.images = meter
            for target, source in zip((recording.loss, *recording.gradients), (value, *gradients), strict=True):
                target.copy_(source)

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    return loss


def test_replays_are_the_loss_at_the_parameters_of_the_moment(model, graphed, squares):
    for step in range(EAGER_CALLS + 4):
        images, labels = squares.train.images[step::16], squares.train.labels[step::16]
        before = model.host.meter.calls, model.host.meter.images
        value = graphed.replayed(images, labels)
        (found,) = torch.autograd.grad(3 * value, model.learned_parameters())
        assert (model.host.meter.calls - before[0], model.host.meter.images - before[1]) == (1, len(images))
        wanted, (gradient,) = computed(model, images, labels)
        torch.testing.assert_close(value.detach(), wanted)
        torch.testing.assert_close(found, 3 * gradient)
        with torch.no_grad():
            model.learned_parameters()[0].sub_(0.1 * found.sign())
    assert len(graphed._recordings) == 1


def test_a_value_is_kept_when_the_next_batch_is_replayed(graphed, squares):
    batches = [(squares.train.images[i : i + 8], squares.train.labels[i : i + 8]) for i in range(0, 64, 8)]
    values = [graphed.replayed(*batch) for batch in batches]
    torch.testing.assert_close(
        torch.stack(values).detach(), torch.stack([graphed(*batch) for batch in batches]).detach()
    )


def test_rare_and_many_shapes_are_not_recorded(graphed, squares):
    for size in range(4, 4 + SHAPES + 3):
        for _ in range(EAGER_CALLS + 1):
            graphed.replayed(squares.train.images[:size], squares.train.labels[:size])
    assert len(graphed._recordings) == SHAPES
    for _ in range(EAGER_CALLS):
        graphed.replayed(squares.train.images[:2], squares.train.labels[:2])
    assert all(key[0][0] != 2 for key in graphed._recordings)


def test_a_step_that_cant_be_recorded_is_computed(model, graphed, squares, monkeypatch):
    images, labels = squares.train.images[:8], squares.train.labels[:8]

    @contextlib.contextmanager
    def refuses(graph):
        yield
        raise RuntimeError("operation not permitted when stream is capturing\nmore lines")

    monkeypatch.setattr(torch.cuda, "graph", refuses)
    for _ in range(EAGER_CALLS):
        graphed.replayed(images, labels)
    before = model.host.meter.images
    with pytest.warns(UserWarning, match="without CUDA graphs: operation not permitted when stream is capturing$"):
        value = graphed.replayed(images, labels)
    assert model.host.meter.images - before == 8  # The attempt doesn't count: the host computed nothing.
    again = graphed.replayed(images, labels)  # No second warning: warnings are errors here.
    assert torch.equal(value, again) and not graphed._recordings
