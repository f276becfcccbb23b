"""What tests of maps, programs and canvases share: components by spec, models of known weights, NumPy's pixels."""

import io

import numpy as np
import torch
from PIL import Image
from torch import nn

import reprogram
from helpers import random_task, tiny_model
from reprogram.registry import configure

SIZE, BOX = 16, slice(4, 12)  # The canvas and the window of `tiny_model` with images of 8 x 8.
TASK = random_task(separable=False)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build_map(spec, host=12, task=5):
    """A label map from `host` labels to `task` labels."""
    variant, config = configure("label-maps", spec)
    return variant(config, num_host_labels=host, num_task_labels=task)


def scores_and_labels(seed, n=200, k=5, host=12, absent=()):
    """Scores that depend on the label, and labels, the first ones more frequent."""
    rng = np.random.default_rng(seed)
    labels = np.minimum(rng.geometric(0.4, n) - 1, k - 1)
    labels = labels[~np.isin(labels, absent)]
    return rng.normal(size=(len(labels), host)) * 2 + rng.normal(size=(k, host))[labels] * 2, labels


def published_greedy(counts):
    """Pairs of task and host label as ILM-VP and BayesianLM choose them, for as long as an answer is left."""
    remaining, pairs = counts.T.copy(), {}
    while remaining.max() > 0:
        host, task = np.unravel_index(remaining.argmax(), remaining.shape)
        pairs[task] = host
        remaining[host], remaining[:, task] = -1, -1
    return pairs


def chosen_labels(label_map):
    """The host label of every class, where a class has one."""
    rows = label_map.assignment()
    assert all(len(row) == 1 for row in rows)
    return [row[0] for row in rows]


def images():
    """The test images of `TASK`."""
    return TASK.test.images


def noisy_model(program, canvas="centre", std=1.0, task=TASK, size=SIZE):
    """A model whose program's parameters are normal, of a fixed seed."""
    model = tiny_model(task, program=program, canvas=canvas, size=size)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.program.parameters():
            parameter.normal_(0, std, generator=generator)
    return model


def randomize_weight(model, std, seed=5):
    """The model with normal numbers in its program's weight."""
    with torch.no_grad():
        model.program.weight.normal_(0, std, generator=torch.Generator().manual_seed(seed))
    return model


def numpy_of(tensor):
    """Its values in float64."""
    return tensor.detach().double().numpy()


def canvas_of(model):
    """The test images as the canvas places them: n C H W."""
    return numpy_of(model.canvas(images()).dense())


def drawn(model, pixels=None):
    """The test images, or others, with the program: n C H W."""
    with torch.no_grad():
        return numpy_of(model.program(model.canvas(images() if pixels is None else pixels)).dense())


def as_png(pixels):
    """What a PNG of it holds: a round trip through a file."""
    stored = []
    for image in pixels:
        buffer = io.BytesIO()
        Image.fromarray(np.rint(image * 255).astype(np.uint8).transpose(1, 2, 0)).save(buffer, format="PNG")
        stored.append(np.asarray(Image.open(buffer)).transpose(2, 0, 1))
    return np.stack(stored).astype(int)


def small_model(seed=0, fill=None):
    """A model whose file is little more than its header."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.arange(72.0).view(24, 3).sin())

        def forward(self, x):
            return x.flatten(1)[:, :24] @ self.weight

    task = random_task(shape=(1, 4, 4), num_classes=2, n=(8, 4, 4))
    host = reprogram.Host.wrap(Net(), size=6, channels=1, name="net")
    model = reprogram.Reprogrammed.build(host, task, program="frame", seed=seed)
    if fill is not None:
        model.program.weight.data.fill_(fill)
    return model


def pixels_host(size=(20, 24), channels=3, mean=MEAN, std=STD):
    """A host whose scores are the normalised pixels that its net is given."""
    return reprogram.Host.wrap(nn.Flatten(), size=size, channels=channels, mean=mean, std=std, name="pixels")


def pixels_model(program, task, canvas="centre", size=(20, 24), channels=3, seed=1, scale=1.0):
    """A model on `pixels_host`, with normal numbers in its program's weight."""
    mean, std = (MEAN, STD) if channels == 3 else ((0.3,), (0.6,))
    host = pixels_host(size, channels, mean, std)
    model = reprogram.Reprogrammed.build(host, task, canvas=canvas, program=program, seed=seed)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        model.program.weight.copy_(torch.randn(model.program.weight.shape, generator=generator) * scale)
    return model
