"""Hosts of other channel counts, and hosts that give probabilities."""

import numpy as np
import pytest
import torch
from torch import nn

import reprogram
from helpers import ConvNet, random_task, seeded
from reprogram import Box, Framed, Host


def softmax_net():
    net = seeded(lambda: ConvNet(num_classes=24))
    return nn.Sequential(net, nn.Softmax(dim=1)), net


def test_probabilities_become_their_logarithms():
    """Log-softmax of the logits in float64, by NumPy."""
    both, net = softmax_net()
    host = Host.wrap(both.double(), size=16, outputs="probabilities")
    pixels = torch.rand(5, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        logits = net.eval()(pixels).numpy()
        scores = host(pixels).numpy()
    expected = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-9)
    assert host.info.access == "gradient"


def test_framed_batches_give_the_same():
    both, _ = softmax_net()
    host = Host.wrap(both, size=16, outputs="probabilities")
    framed = Framed(
        frame=torch.rand(1, 3, 16, 16), window=torch.rand(4, 3, 6, 6), box=Box(top=5, left=5, height=6, width=6)
    )
    with torch.no_grad():
        torch.testing.assert_close(host(framed), host(framed.dense()), rtol=1e-4, atol=1e-5)


def test_a_probability_of_zero_is_a_finite_score_with_a_finite_gradient():
    host = Host.wrap(
        lambda x: torch.softmax(1000 * (x.mean((2, 3)) - 0.5), 1), size=4, channels=2, outputs="probabilities"
    )
    pixels = torch.stack([torch.ones(4, 4), torch.zeros(4, 4)])[None].requires_grad_()
    scores = host(pixels)
    assert torch.allclose(scores[0], torch.tensor([0.0, np.log(1e-12)], dtype=torch.float32))
    scores.sum().backward()
    assert torch.isfinite(pixels.grad).all()


def test_unstated_probabilities_are_noticed():
    both, net = softmax_net()
    with pytest.warns(UserWarning, match="outputs='probabilities'"):
        Host.wrap(both, size=16, name="mine")
    Host.wrap(net, size=16)  # Warnings are errors: logits cause none.
    Host.wrap(lambda x: x.mean((1, 2, 3))[:, None] * 2, size=16)  # One score that is 1 isn't a probability.


def test_stated_probabilities_must_be_some(one_line):
    _, net = softmax_net()
    with pytest.raises(reprogram.ConfigError) as error:
        Host.wrap(net, size=16, name="mine", outputs="probabilities")
    one_line(error, "mine", "leave outputs='probabilities' out")
    with pytest.raises(reprogram.ConfigError) as error:
        Host.wrap(net, size=16, name="mine", outputs="logits")
    one_line(error, "'logits'", "'scores', 'probabilities', 'top-k', 'labels'")


def test_a_host_of_probabilities_learns():
    both, _ = softmax_net()
    task = random_task()
    model = reprogram.Reprogrammed.build(Host.wrap(both, size=16, outputs="probabilities", std=(0.1,) * 3), task)
    before = reprogram.evaluate(model, task.train).loss
    reprogram.fit(model, task, epochs=3, batch_size=8, learner="adam(learning_rate=0.1)")
    assert reprogram.evaluate(model, task.train).loss < before


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_hosts_of_other_channel_counts_are_reprogrammed(channels):
    net = seeded(lambda: ConvNet(num_classes=24, channels=channels))
    task = random_task(shape=(channels, 8, 8))
    model = reprogram.Reprogrammed.build(Host.wrap(net, size=16, channels=channels, std=(0.1,) * channels), task)
    before = reprogram.evaluate(model, task.train).loss
    reprogram.fit(model, task, epochs=3, batch_size=8, learner="adam(learning_rate=0.1)")
    assert reprogram.evaluate(model, task.train).loss < before
    assert model.program(model.canvas(task.test.images[:2])).dense().shape == (2, channels, 16, 16)


def test_a_grey_host_reads_colour_as_grey():
    net = seeded(lambda: ConvNet(num_classes=24, channels=1))
    host = Host.wrap(net, size=16, channels=1)
    model = reprogram.Reprogrammed.build(host, random_task(), program="full(init=0.0)")
    image = random_task().test.images[:1]
    red, green, blue = image[0].double().numpy() / 255
    window = model.canvas(image).window[0, 0].numpy()
    np.testing.assert_allclose(window, 0.299 * red + 0.587 * green + 0.114 * blue, atol=1e-5)


@pytest.mark.parametrize("access", [None, "scores"])
@pytest.mark.parametrize("array", [lambda x: np.asarray(x), lambda x: x.cpu().numpy(), lambda x: x.numpy().tolist()])
def test_functions_of_arrays_show_their_scores(array, access):
    """People's own functions turn pixels into arrays, which PyTorch refuses while it follows gradients."""
    weight = np.random.default_rng(0).normal(size=(12, 3 * 16 * 16)).astype(np.float32)

    def classify(x):
        return np.asarray(array(x), dtype=np.float32).reshape(len(x), -1) @ weight.T

    host = Host.wrap(classify, size=16, access=access)
    assert host.info.access == "scores" and host.info.num_classes == 12
    pixels = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        np.testing.assert_allclose(host(pixels).numpy(), pixels.numpy().reshape(3, -1) @ weight.T, rtol=1e-4)
    task = random_task()
    model = reprogram.Reprogrammed.build(host, task, program="none", label_map="discriminant")
    assert reprogram.fit(model, task, images=40).validation.accuracy > 0.5


def test_a_module_is_no_host_until_it_is_wrapped(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.Reprogrammed.build(seeded(lambda: ConvNet(num_classes=12)), random_task())
    one_line(error, "ConvNet", "Host.wrap")
