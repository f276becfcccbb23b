"""A prompt that depends on the image, against NumPy, SciPy and the numbers of the authors' code."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch import nn

import reprogram
from helpers import random_task, tiny_model
from helpers_components import canvas_of, drawn, numpy_of
from reprogram.framed import Box, Geometry
from reprogram.programs.coordinator import Coordinator, _cosine_code
from reprogram.utils.efficientnet_lite0 import pretrained

COSINE = "coordinator(encoder='cosine', eps=0.5)"


def program(encoder="cosine", size=224, channels=3, eps=1.0):
    box = Box(top=0, left=0, height=size, width=size)
    geometry = Geometry(channels=channels, height=size, width=size, window=box)
    built = Coordinator(Coordinator.Config(encoder=encoder, eps=eps), geometry=geometry)
    built.initialize(torch.Generator().manual_seed(0))
    return built


def transposed(x, weight, bias, groups, stride):
    """A transposed convolution whose kernel is as large as its stride: each pixel becomes a tile."""
    inputs, per_group = weight.shape[:2]
    out = np.zeros((per_group * groups, x.shape[1] * stride, x.shape[2] * stride))
    for i in range(inputs):
        group = i // (inputs // groups)
        for j in range(per_group):
            out[group * per_group + j] += np.kron(x[i], weight[i, j])
    return out if bias is None else out + bias[:, None, None]


def decoded_in_numpy(net, x):
    from scipy.special import erf

    for layer in net:
        if isinstance(layer, nn.ConvTranspose2d):
            bias = None if layer.bias is None else numpy_of(layer.bias)
            x = transposed(x, numpy_of(layer.weight), bias, layer.groups, layer.stride[0])
        elif isinstance(layer, nn.GroupNorm):
            x = (x - x.mean()) / np.sqrt(x.var() + layer.eps)
            x = x * numpy_of(layer.weight)[:, None, None] + numpy_of(layer.bias)[:, None, None]
        else:
            x = x * (1 + erf(x / 2**0.5)) / 2
    return x


def test_the_prompt_is_the_decoded_code_and_trigger_times_its_strength():
    model = tiny_model(program=COSINE, canvas="resize", size=224)
    before, built = canvas_of(model)[:2], model.program
    expected = []
    for image in before:
        code = np.stack([dctn(channel, norm="ortho")[:16, :16] / 224 for channel in image]).ravel()
        source = np.concatenate([code, numpy_of(built.trigger)]).reshape(32, 7, 7)
        expected.append(np.clip(image + 0.5 * decoded_in_numpy(built.decoder, source), 0, 1))
    np.testing.assert_allclose(drawn(model)[:2], np.array(expected), atol=2e-5)


@pytest.mark.parametrize("canvas", ["centre", "resize"])
def test_an_image_sees_no_neighbours_and_the_frame_is_one(canvas):
    task = random_task(shape=(3, 20, 20))
    model = tiny_model(task, program=COSINE, canvas=canvas, size=32)
    images = task.test.images[:5]
    whole = model.program(model.canvas(images))
    alone = model.program(model.canvas(images[3:4]))
    torch.testing.assert_close(alone.window[0], whole.window[3], rtol=0, atol=1e-5)
    prompts = whole.window - model.canvas(images).window
    assert whole.frame.shape[0] == 1 and all((prompts[0] - prompt).abs().max() > 1e-4 for prompt in prompts[1:])
    inside = model.canvas.geometry.window
    other = replace(model.canvas(images), frame=model.canvas.frame.clone())
    other.frame[..., inside.rows, inside.columns] = 0.77  # It doesn't count.
    mask = model.canvas.geometry.mask().bool().expand(1, 3, -1, -1)
    assert torch.equal(model.program(other).frame[mask], whole.frame[mask])


@pytest.mark.parametrize("encoder, trigger", [("cosine", 800), ("efficientnet-lite0", 288)])
def test_it_has_the_authors_decoder_and_learns_nothing_else(encoder, trigger):
    """DecoderManual of their code with 1,568 numbers: 9,120 parameters in its layers, 800 in the trigger of a ViT-B."""
    built = program(encoder)
    assert sum(p.numel() for p in built.decoder.parameters()) == 9_120
    assert built.trigger.shape == (trigger,) and built.trigger.min() >= 0 and 0.09 < built.trigger.max() <= 0.1
    assert set(built.state_dict()) == {"trigger", *(f"decoder.{name}" for name in built.decoder.state_dict())}


def test_the_code_of_the_network_is_its_pooled_features():
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    net = pretrained().eval()
    with torch.no_grad():
        features = net.forward_head(net.forward_features((images - 0.5) / 0.5), pre_logits=True)
    built = program("efficientnet-lite0")
    first = built._encoded(images)
    torch.testing.assert_close(first, features)
    assert built._encoded(images.clone()) is first, "the same images are encoded once"
    assert not torch.equal(built._encoded(images.flip(0)), first)


def test_the_code_of_small_and_of_grey_images():
    images = torch.rand(2, 1, 8, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = np.zeros((2, 3, 16, 16))
    expected[:, :, :8] = np.stack([dctn(image[0], norm="ortho")[:, :16] / 240**0.5 for image in images.numpy()])[
        :, None
    ]
    np.testing.assert_allclose(_cosine_code(images, 16).numpy(), expected.reshape(2, -1), atol=1e-7)


@pytest.mark.parametrize("size, side, numbers", [(224, 7, 1568), (32, 1, 32), (48, 2, 128), (300, 7, 1568)])
def test_a_smaller_canvas_has_smaller_maps(size, side, numbers):
    built = program(size=size)
    assert built.side == side and 3 * built.frequencies**2 + len(built.trigger) == numbers
    assert 0 < len(built.trigger) < 0.7 * numbers
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    assert built._prompts(images).shape == images.shape


def test_a_host_of_other_channels_is_refused(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        program(channels=4)
    one_line(error, "4")
    assert program(channels=1).decoder[-1].weight.shape[1] == 1
