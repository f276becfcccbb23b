"""What is compared: one learning step, or one answer, of each way to run the same reprogrammed host.

peers       the step of every published implementation: the whole canvas of every image, float32, NCHW, `F.pad` + program
unfrozen    the same with the host left unfrozen, as two of them ship it: gradients of all weights, never used
folded      ours with `engine="dense"`: BatchNorm folded, channels last, every image whole
engine      ours as it comes
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram import Reprogrammed, Split, Task, load_host
from reprogram.fitting import loss_of
from reprogram.learners.base import Progress
from reprogram.learners.gradient import Gradient

NAMES = ("peers", "unfrozen", "folded", "engine")
LEARNING_RATE = 0.01


def random_task(window: int, channels: int, num_classes: int, batch: int) -> Task:
    """Images of noise: what they show costs nothing and gains nothing."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, channels, window, window), dtype=torch.uint8, generator=generator)
    split = Split(images=images, labels=torch.arange(batch) % num_classes)
    small = Split(images=images[:2].repeat(2, 1, 1, 1)[:2], labels=torch.arange(2))
    train = split if batch > 1 else small
    names = tuple(str(i) for i in range(num_classes))
    return Task(name="noise", train=train, validation=small, test=small, class_names=names)


class Peer(nn.Module):
    """A reprogrammed host as the published implementations write it."""

    def __init__(self, net: nn.Module, size: int, window: int, mean: Tensor, std: Tensor, num_classes: int) -> None:
        super().__init__()
        self.net = net
        before = (size - window) // 2
        self.pad = (before, size - window - before) * 2
        self.program = nn.Parameter(torch.randn(mean.shape[1], size, size, generator=torch.Generator().manual_seed(0)))
        mask = F.pad(torch.zeros(mean.shape[1], window, window), self.pad, value=1.0)
        self.register_buffer("mask", mask)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.num_classes = num_classes

    def forward(self, images: Tensor) -> Tensor:
        """Task scores."""
        canvas = F.pad(images, self.pad) + torch.sigmoid(self.program) * self.mask
        return self.net((canvas - self.mean) / self.std)[:, : self.num_classes]


def build(name: str, *, host: str, window: int, batch: int, num_classes: int, train: bool) -> Callable[[], object]:
    """One arm, ready to be called.

    Args:
        name: of `NAMES`.
        host: spec; any input channels and size.
        window: side of the task image in pixels.
        batch: images a step.
        num_classes: of the task.
        train: a learning step; otherwise the answer of a fixed program.
    """
    loaded = load_host(host)
    info = loaded.info
    task = random_task(window, info.channels, num_classes, batch)
    images, labels = task.train.images[:batch], task.train.labels[:batch]
    if name in ("peers", "unfrozen"):
        model = Peer(loaded.net.eval(), info.size[0], window, loaded.mean, loaded.std, num_classes)
        if name == "unfrozen":
            for parameter in model.net.parameters():
                parameter.requires_grad_(parameter.is_floating_point())
        floats = images.float() / 255
        return _peer_step(model, floats, labels) if train else _answer(model, floats)
    loaded.engine = "shared" if name == "engine" else "dense"
    program = "frame" if window < min(info.size) else "full"
    ours = Reprogrammed.build(loaded, task, program=program)
    return _our_step(ours, images, labels) if train else _answer(ours, images)


def _peer_step(model: Peer, images: Tensor, labels: Tensor) -> Callable[[], object]:
    adam = torch.optim.Adam([model.program], lr=LEARNING_RATE)

    def step() -> float:
        adam.zero_grad()
        model.net.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        adam.step()
        return float(loss.detach())

    return step


def _our_step(model: Reprogrammed, images: Tensor, labels: Tensor) -> Callable[[], object]:
    learner = Gradient(Gradient.Config(learning_rate=LEARNING_RATE))
    learner.start(model.learned_parameters())
    progress = Progress(fraction=0.0, epoch=0)
    return lambda: learner.step(lambda: loss_of(model, images, labels, "task"), progress)


def _answer(model: nn.Module, images: Tensor) -> Callable[[], object]:
    @torch.no_grad()
    def answer() -> Tensor:
        scores: Tensor = model(images)
        return scores

    return answer
