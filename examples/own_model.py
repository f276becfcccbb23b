"""Your own host and your own task: a small conv net that reads digits is reprogrammed to tell stripes apart.

Takes about half a minute on one core and downloads nothing. Run it with `python examples/own_model.py`.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import reprogram


def train_classifier() -> nn.Module:
    """Any classifier will do. This one is trained for a few seconds on scikit-learn's digits, drawn at 32×32."""
    torch.manual_seed(0)
    data = load_digits()
    images = torch.from_numpy(data.images).float()[:, None] / 16
    images = F.interpolate(images, size=(32, 32), mode="bilinear", align_corners=False)
    labels = torch.from_numpy(data.target)
    net = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(128, 10)),
    )
    adam = torch.optim.Adam(net.parameters(), lr=0.003)
    for _ in range(4):
        for chosen in torch.randperm(len(labels)).split(64):
            adam.zero_grad()
            F.cross_entropy(net((images[chosen] - 0.5) / 0.5), labels[chosen]).backward()
            adam.step()
    return net


def stripes(count: int, seed: int) -> TensorDataset:
    """A map-style dataset of (image, label): 12×12 noise with dark and light stripes, upright (0) or level (1)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (count,), generator=generator)
    phases = torch.randint(4, (count, 1), generator=generator)
    wave = ((torch.arange(12) + phases) % 4 < 2).float()
    level = wave[:, None, :, None].expand(-1, 1, 12, 12)
    images = torch.where(labels.view(-1, 1, 1, 1) == 1, level, level.transpose(2, 3))
    noise = torch.rand(images.shape, generator=generator)
    return TensorDataset(0.5 * images + 0.5 * noise, labels)


def main() -> None:
    """Wrap, build, learn, measure, save, load."""
    net = train_classifier()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    host = reprogram.Host.wrap(
        net, size=32, channels=1, mean=(0.5,), std=(0.5,), class_names=list("0123456789"), name="my-digit-reader"
    )
    task = reprogram.Task.from_datasets(
        "stripes", train=stripes(2000, seed=1), test=stripes(500, seed=2), class_names=["upright", "level"]
    )
    model = reprogram.Reprogrammed.build(host, task, program="frame", label_map="first")
    fitted = reprogram.fit(model, task, epochs=10)
    print(f"learned from {fitted.images_seen} images, selected at step {fitted.best_step}")
    print("validation", fitted.validation)
    print("test      ", reprogram.evaluate(model, task))
    without = reprogram.evaluate(lambda images: model.label_map(model.host(model.canvas(images))), task)
    print("no program", without)

    path = model.save("runs/stripes.safetensors")
    again = reprogram.load(path, host=host)  # The file can't name how to build your own model: hand it over.
    assert torch.equal(again(task.test.images[:8]), model(task.test.images[:8]))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())  # The host is untouched.
    print("saved", path)


if __name__ == "__main__":
    main()
