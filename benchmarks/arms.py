"""What is compared: one learning step, or one answer, of each way to run the same reprogrammed host.

peers       the step of every published implementation: the whole canvas of each image, float32, NCHW, `F.pad` + program
autocast    the same under PyTorch's automatic mixed precision, in bfloat16
unfrozen    the same with the host left unfrozen, as two of them ship it: gradients of all weights, never used
folded      ours with `engine="dense"`: BatchNorm folded, channels last, every image whole
engine      ours as it comes
half        ours in the precision "auto"; on a GPU in bfloat16
exported    the ONNX file that `reprogram.export` writes, in ONNX Runtime on the CPU; answers alone

Where the task image covers the whole canvas no frame is left: then all of them learn an image over the whole canvas.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reprogram import ConfigError, Host, HostInfo, Reprogrammed, Split, Task, export, load_host
from reprogram.learners.adam import Adam
from reprogram.learners.base import Progress
from reprogram.training.cuda_graph import GraphedLoss
from reprogram.utils.onnx_runtime import session

NAMES = ("peers", "autocast", "unfrozen", "folded", "engine", "half", "exported")
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

    def __init__(
        self, net: nn.Module, size: tuple[int, int], window: int, mean: Tensor, std: Tensor, num_classes: int
    ) -> None:
        super().__init__()
        self.net = net
        (height, width), channels = size, mean.shape[1]
        top, left = (height - window) // 2, (width - window) // 2
        self.pad = (left, width - window - left, top, height - window - top)
        self.program = nn.Parameter(torch.randn(channels, height, width, generator=torch.Generator().manual_seed(0)))
        mask = F.pad(torch.zeros(channels, window, window), self.pad, value=1.0)
        self.register_buffer("mask", mask if mask.any() else torch.ones_like(mask))
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.num_classes = num_classes

    def forward(self, images: Tensor) -> Tensor:
        """Task scores."""
        canvas = F.pad(images, self.pad) + torch.sigmoid(self.program) * self.mask
        return self.net((canvas - self.mean) / self.std)[:, : self.num_classes]


def examine(host: str, window: int) -> HostInfo:
    """The record of a host that can be measured with a task image of this size.

    Raises:
        ConfigError: no such host, it doesn't run, it has one class only, or the image doesn't fit.
    """
    loaded = load_host(host)
    info = loaded.info
    height, width = info.size
    if window > min(info.size):
        raise ConfigError(f"--window {window} is larger than the host's input of {height}x{width} pixels")
    if info.num_classes < 2:
        raise ConfigError(f"host {host} has {info.num_classes} class; a task needs two or more")
    try:
        with torch.no_grad():
            loaded.net(torch.zeros(1, *info.shape))
    except Exception as error:  # Whatever a network raises at a size that it can't take.
        raise ConfigError(f"host {host} can't take an image of {height}x{width} pixels: {error}") from error
    return info


def build(
    name: str, *, host: str, window: int, batch: int, num_classes: int, train: bool, device: str = "cpu"
) -> Callable[[], object]:
    """One arm, ready to be called.

    Args:
        name: of `NAMES`.
        host: spec; any input channels and size.
        window: side of the task image in pixels.
        batch: images a step.
        num_classes: of the task, at most the host's.
        train: a learning step; otherwise the answer of a fixed program.
        device: what it computes on; on a GPU our steps are replayed from a CUDA graph, as `fit` does, and an arm ends
            when the GPU has finished.
    """
    arm = _arm(name, load_host(host).to(device), window, batch, num_classes, train)
    return _synchronized(arm) if torch.device(device).type == "cuda" else arm


def _synchronized(arm: Callable[[], object]) -> Callable[[], object]:
    def call() -> None:
        arm()
        torch.cuda.synchronize()

    return call


def _arm(name: str, loaded: Host, window: int, batch: int, num_classes: int, train: bool) -> Callable[[], object]:
    device = loaded.mean.device
    info = loaded.info
    task = random_task(window, info.channels, num_classes, batch)
    images, labels = task.train.images[:batch].to(device), task.train.labels[:batch].to(device)
    if name in ("peers", "autocast", "unfrozen"):
        model = Peer(loaded.net.eval(), info.size, window, loaded.mean, loaded.std, num_classes).to(device)
        if name == "unfrozen":
            for parameter in model.net.parameters():
                parameter.requires_grad_(parameter.is_floating_point())
        floats = images.float() / 255
        mixed = name == "autocast"
        return _peer_step(model, floats, labels, mixed=mixed) if train else _answer(model, floats, mixed=mixed)
    loaded.engine = "dense" if name == "folded" else "shared"
    loaded.precision = "auto" if name == "half" else "float32"
    program = "full" if info.size == (window, window) else "frame"
    ours = Reprogrammed.build(loaded, task, program=program)
    if name == "exported":
        return _exported(ours, images)
    return _our_step(ours, images, labels) if train else _answer(ours, images)


def _peer_step(model: Peer, images: Tensor, labels: Tensor, *, mixed: bool) -> Callable[[], object]:
    adam = torch.optim.Adam([model.program], lr=LEARNING_RATE)

    def step() -> float:
        adam.zero_grad()
        model.net.zero_grad()
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=mixed):
            loss = F.cross_entropy(model(images), labels)
        loss.backward()
        adam.step()
        return float(loss.detach())

    return step


def _our_step(model: Reprogrammed, images: Tensor, labels: Tensor) -> Callable[[], object]:
    learner = Adam(Adam.Config(learning_rate=LEARNING_RATE))
    learner.start(model.learned_parameters())
    progress = Progress(fraction=0.0, epoch=0)
    loss = GraphedLoss(model, "task")
    value = loss.replayed if images.is_cuda else loss
    return lambda: learner.step(lambda: value(images, labels), progress)


def _answer(model: nn.Module, images: Tensor, *, mixed: bool = False) -> Callable[[], object]:
    @torch.no_grad()
    def answer() -> Tensor:
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=mixed):
            scores: Tensor = model(images)
        return scores

    return answer


def _exported(model: Reprogrammed, images: Tensor) -> Callable[[], object]:
    """An answer of the exported file, from uint8 images in NumPy to scores in NumPy."""
    with tempfile.TemporaryDirectory() as folder:
        done = export(model, Path(folder) / "model.onnx", max_batch=len(images))
        opened = session(done.path)
    levels = images.numpy()
    return lambda: opened.run(["scores"], {"images": levels})
