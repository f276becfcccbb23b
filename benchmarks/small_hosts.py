"""Two small CIFAR-10 classifiers, one trained as usual and one against adversarial examples; the table of defences.

    python benchmarks/small_hosts.py CIFAR10.npz

`CIFAR10.npz` is a file that the task `cifar10` takes; JPEG-coded ones (`train_jpeg`, ...) are read too. The weights go
to `hosts/` of the folder `SMALL_HOSTS`, by default `runs/small-hosts`. Each is then a host:
`python:benchmarks/small_hosts.py:standard` and `...:robust`. The robust one is a stand-in: a net of 50,000 weights that
saw a few epochs is no measure of what a large robust model does.
"""

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

import reprogram

FOLDER = Path(os.environ.get("SMALL_HOSTS", "runs/small-hosts"))
LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
IMAGES, EPOCHS, BATCH, EPS = 15_000, {"standard": 8, "robust": 10}, 64, 8 / 255


def network() -> nn.Module:
    """Three convolutions with BatchNorm and a linear layer: b × 3 × 32 × 32 pixels to b × 10 scores."""
    sides = ((3, 24, 5), (24, 48, 3), (48, 64, 3))
    blocks = [
        part
        for before, after, size in sides
        for part in (nn.Conv2d(before, after, size, 2, size // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU())
    ]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(64 * 16, 10))


def data(path: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The training and test images, uint8 n × 3 × 32 × 32, and their labels."""
    file = np.load(path)
    if "train_jpeg" not in file:
        parts = [(file[f"x_{part}"], file[f"y_{part}"]) for part in ("train", "test")]
        return tuple((torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(y).long()) for x, y in parts)  # type: ignore[return-value]
    found = []
    for part, count in (("train", IMAGES), ("test", 2_000)):
        coded, offsets = file[f"{part}_jpeg"].tobytes(), file[f"{part}_offsets"]
        images = [np.array(Image.open(io.BytesIO(coded[offsets[i] : offsets[i + 1]]))) for i in range(count)]
        found.append(
            (
                torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2),
                torch.from_numpy(file[f"{part}_labels"][:count]).long(),
            )
        )
    return found[0], found[1]


def attacked(net: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """One signed step from a random start within eps (Wong, Rice and Kolter, Fast is better than free, ICLR 2020)."""
    delta = ((torch.rand(images.shape, generator=generator) * 2 - 1) * EPS).requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(net(images + delta), labels), delta)
    # clip(δ + 1.25 ε sign g, -ε, ε), and pixels stay in [0, 1]
    return (images + (delta + 1.25 * EPS * gradient.sign()).clamp(-EPS, EPS)).clamp(0, 1).detach()


def accuracy(net: nn.Module, images: Tensor, labels: Tensor, eps: float = 0.0, steps: int = 10) -> float:
    """The accuracy on images, or on those that `steps` signed steps of eps / 4 within eps have changed (PGD)."""
    x, start = images.float() / 255, images.float() / 255
    for _ in range(steps if eps else 0):
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(net(x), labels), x)
        x = torch.clamp(start + (x + eps / 4 * gradient.sign() - start).clamp(-eps, eps), 0, 1)
    with torch.no_grad():
        return float((net(x).argmax(1) == labels).float().mean())


def train(kind: str, path: str, seed: int = 0) -> dict[str, Any]:
    """Train one of the two and keep its weights."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net, ((images, labels), test) = network(), data(path)
    steps = EPOCHS[kind] * (len(images) // BATCH)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.2 if kind == "standard" else 0.1, total_steps=steps)
    for step in range(steps):
        if step % (len(images) // BATCH) == 0:
            order = torch.randperm(len(images), generator=generator)
        chosen = order[step % (len(images) // BATCH) * BATCH :][:BATCH]
        x, y = images[chosen].float() / 255, labels[chosen]
        x = torch.where(torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5, x.flip(3), x)
        x = attacked(net, x, y, generator) if kind == "robust" else x
        optimiser.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimiser.step()
        schedule.step()
    net.eval()
    FOLDER.mkdir(parents=True, exist_ok=True)
    save_file(net.state_dict(), FOLDER / f"{kind}.safetensors")
    found = {"clean": accuracy(net, *test), "pgd10": accuracy(net, *(part[:500] for part in test), eps=EPS)}
    return {"host": kind, "images": len(images), "epochs": EPOCHS[kind], "eps": EPS if kind == "robust" else 0, **found}


def _host(kind: str) -> reprogram.Host:
    net = network()
    net.load_state_dict(load_file(FOLDER / f"{kind}.safetensors"))
    return reprogram.Host.wrap(net.eval(), size=32, class_names=LABELS, name=f"small-{kind}", licence="none")


def __getattr__(name: str) -> reprogram.Host:
    if name in EPOCHS:
        return _host(name)
    raise AttributeError(name)


if __name__ == "__main__":
    print(json.dumps([train(kind, sys.argv[1]) for kind in EPOCHS], indent=1))
