"""Invariant 9: a new variant of any family is one new file and nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import reprogram

FILES = {
    "programs/stripe.py": '''"""A learned row of pixels along the upper edge."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from reprogram.programs.base import Program


class Stripe(Program):
    """Pixels 0.5 + tanh(W) / 2 in the first rows."""

    confined = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Program.Config):
        """Options."""

        rows: int = 2

    def __init__(self, config, *, geometry):
        super().__init__(config, geometry=geometry)
        self.weight = nn.Parameter(torch.zeros(1, geometry.channels, config.rows, geometry.width))

    def run(self, framed):
        frame = framed.frame.clone()
        frame[..., : self.config.rows, :] = 0.5 + torch.tanh(self.weight) / 2
        return replace(framed, frame=frame)
''',
    "labelmaps/affine.py": '''"""A learned affine map of all host scores."""

import torch
from torch import nn

from reprogram.labelmaps.base import LabelMap


class Affine(LabelMap):
    """Scores times a matrix that is learned too."""

    def __init__(self, config, *, num_host_labels, num_task_labels):
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.matrix = nn.Parameter(torch.eye(num_host_labels)[:, :num_task_labels].clone())

    def run(self, scores):
        return scores @ self.matrix

    def assignment(self):
        return self.matrix.detach().T.argsort(dim=1, descending=True).tolist()
''',
    "canvases/lower_corner.py": '''"""The task image in the lower right corner."""

from reprogram.canvases.base import Canvas
from reprogram.framed import Box


class LowerCorner(Canvas):
    """Lower right."""

    def window_box(self):
        (_, h, w), (_, height, width) = self.image_shape, self.host_shape
        return Box(top=height - h, left=width - w, height=h, width=w)
''',
    "tasks/bright.py": '''"""Is the image bright?"""

import torch

from reprogram.tasks.base import Split, Task, TaskSource


class Bright(TaskSource):
    """Dark and bright images."""

    def load(self, *, download=False):
        labels = torch.arange(40) % 2
        images = (labels.view(-1, 1, 1, 1) * 150 + torch.arange(40).view(-1, 1, 1, 1)).expand(-1, 3, 6, 6)
        split = Split(images=images.to(torch.uint8).contiguous(), labels=labels)
        return Task(name="bright", train=split, validation=split, test=split, class_names=("dark", "bright"))
''',
    "learners/plain_sgd.py": '''"""Plain gradient descent."""

import torch

from reprogram.learners.base import Learner


class PlainSgd(Learner):
    """No memory."""

    def start(self, parameters):
        self.parameters = parameters

    def step(self, objective, progress):
        loss = objective()
        with torch.no_grad():
            for parameter, gradient in zip(self.parameters, torch.autograd.grad(loss, self.parameters), strict=True):
                parameter -= 0.5 * gradient
        return float(loss.detach())

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        assert not state
''',
    "hosts/mean_colour.py": '''"""Scores that are means of the image's quarters."""

from torch import nn

from reprogram.hosts.base import Host, HostInfo, HostSource


class MeanColour(HostSource):
    """Twelve scores."""

    def build(self, *, download=False):
        net = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
        info = HostInfo(id="mean-colour", num_classes=12, size=(16, 16), mean=(0.5,) * 3, std=(0.05,) * 3)
        return Host(net, info)
''',
    "augmentations/dimmer.py": '''"""Some images are halved in brightness."""

import torch

from reprogram.augmentations.base import Augmentation


class Dimmer(Augmentation):
    """Half of them."""

    numbers = 1

    def run(self, images, chance):
        return torch.where(chance[:, 0, None, None, None] < 0.5, images // 2, images)
''',
    "losses/squared.py": '''"""The squared error of the probabilities."""

from dataclasses import dataclass

import torch.nn.functional as F

from reprogram.losses.base import Loss


class Squared(Loss):
    """Brier's score."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options."""

        scale: float = 1.0

    def losses(self, answered):
        wanted = F.one_hot(answered.labels, answered.task.shape[1])
        return self.config.scale * (answered.task.softmax(1) - wanted).square().sum(1)
''',
    "evaluation/baselines/first_class.py": '''"""The first class."""

from dataclasses import dataclass

from reprogram.evaluation.baselines.base import Baseline
from reprogram.registry import EmptyConfig


class FirstClass(Baseline):
    """Always the same answer."""

    @dataclass(frozen=True, kw_only=True)
    class Config(EmptyConfig):
        """Options."""

        label: int = 0

    def measure(self, run):
        labels = run.task.test.labels
        return {"accuracy": float((labels == self.config.label).double().mean()), "n": len(labels), "seed": run.seed}
''',
    "defences/mirror.py": '''"""Images are mirrored."""

from dataclasses import dataclass

from reprogram.defences.base import InputDefence


class Mirror(InputDefence):
    """Left to right, or up and down."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options."""

        axis: int = 3

    def transform(self, images, draws):
        return images.flip(self.config.axis)
''',
    "detectors/bright_query.py": '''"""Bright images are suspicious."""

from dataclasses import dataclass

from reprogram.detectors.base import Detector


class BrightQuery(Detector):
    """The mean level."""

    usual_threshold = 128.0

    @dataclass(frozen=True, kw_only=True)
    class Config(Detector.Config):
        """Options."""

        scale: float = 1.0

    def score(self, image, account, answer):
        return self.config.scale * float(image.mean())
''',
    "trackers/counter.py": '''"""A counter."""

from reprogram.trackers.base import Tracker


class Counter(Tracker):
    """Counts what it is told."""

    def begin(self, run):
        self.path, self.told = run.folder / "count.txt", 0
        return run.name

    def numbers(self, values, step):
        self.told += 1

    def picture(self, name, pixels, step):
        self.told += 1

    def result(self, values, document, step):
        self.path.write_text(str(self.told))
''',
    "exporters/bundle.py": '''"""A bundle of a graph and its notes."""

import json

import torch

from reprogram.exporters.base import Exporter


class Bundle(Exporter):
    """PyTorch's archive under another name."""

    suffix = ".pt2"

    def write(self, graph, path, metadata):
        torch.export.save(graph, path, extra_files={"notes": json.dumps(metadata)})
        return ["a bundle was written"]

    def open(self, path):
        module = torch.export.load(path).module()
        return lambda images: [output.detach().numpy() for output in module(torch.from_numpy(images))]

    def metadata(self, path):
        extra = {"notes": ""}
        torch.export.load(path, extra_files=extra)
        return json.loads(extra["notes"])
''',
    "auditing/formats/headline.py": '''"""The verdict in one line."""

from reprogram.auditing.formats.base import Format


class Headline(Format):
    """For a chat."""

    file = "headline.txt"

    def render(self, report, folder):
        return report.verdict.level
''',
}

SCRIPT = """
import json
import sys
from pathlib import Path
import torch
import reprogram
from reprogram.cli import main
from reprogram.auditing.file import read_report
from reprogram.registry import FAMILIES, configure, format_spec, names

assert Path(reprogram.__file__).is_relative_to(sys.argv[1]), reprogram.__file__
dropped = {"programs": "stripe", "label-maps": "affine", "canvases": "lower-corner", "tasks": "bright",
           "learners": "plain-sgd", "hosts": "mean-colour", "augmentations": "dimmer", "losses": "squared",
           "baselines": "first-class", "defences": "mirror", "detectors": "bright-query", "trackers": "counter",
           "exporters": "bundle", "formats": "headline"}
assert dropped.keys() == FAMILIES.keys()
for family, name in dropped.items():
    assert name in names(family), (family, name)
    assert main(["list", family]) == 0
    variant, config = configure(family, name)
    assert variant.name() == name and isinstance(config, variant.Config)
    assert variant.__module__.startswith("reprogram."), variant

task = reprogram.load_task("bright")
model = reprogram.Reprogrammed.build(
    "mean-colour", task, canvas="lower-corner", program="stripe(rows=3)", label_map="affine", seed=1)
before = reprogram.evaluate(model, task.train).loss
fitted = reprogram.fit(model, task, learner="plain-sgd", epochs=4, batch_size=8, checkpoint=sys.argv[2] + "/state")
assert reprogram.evaluate(model, task.train).loss < before
model.save(sys.argv[2] + "/a.safetensors")
again = reprogram.load(sys.argv[2] + "/a.safetensors")
assert format_spec(again.program) == "stripe(rows=3)"
assert torch.equal(again(task.test.images), model(task.test.images))
again.save(sys.argv[2] + "/b.safetensors")
assert Path(sys.argv[2], "a.safetensors").read_bytes() == Path(sys.argv[2], "b.safetensors").read_bytes()
assert main(["inspect", sys.argv[2] + "/a.safetensors"]) == 0

def learned(**options):
    other = reprogram.Reprogrammed.build(
        "mean-colour", task, canvas="lower-corner", program="stripe(rows=3)", label_map="affine", seed=1)
    reprogram.fit(other, task, learner="plain-sgd", epochs=4, batch_size=8, **options)
    return other.program.weight

assert torch.equal(learned(), model.program.weight)
assert not torch.equal(learned(augmentation="dimmer"), model.program.weight)
assert not torch.equal(learned(loss="squared"), model.program.weight)
assert main(["fit", "--host", "mean-colour", "--task", "bright", "--program", "stripe", "--label-map", "affine",
             "--canvas", "lower-corner", "--learner", "plain-sgd", "--augmentation", "dimmer",
             "--loss", "squared(scale=2.0)",
             "--baselines", "first-class", "--track", "counter", "--seed", "3", "--epochs", "1", "--quiet",
             "--out", sys.argv[2] + "/run"]) == 0
result = json.loads(Path(sys.argv[2], "run", "result.json").read_text())
keys = {"hosts": "host", "tasks": "task", "canvases": "canvas", "programs": "program", "label-maps": "label_map",
        "learners": "learner", "augmentations": "augmentation"}
assert result["loss"] == "squared(scale=2.0)"
for family, key in keys.items():
    assert result[key] == dropped[family], (family, result[key])
assert result["baselines"]["first_class"] == {"accuracy": 0.5, "n": 40, "seed": 3}, result["baselines"]
assert "the first class" in Path(sys.argv[2], "run", "report.html").read_text().lower()
plain = reprogram.load_host("mean-colour")
mirrored = reprogram.load_host("restricted(host='defended:mean-colour?by=mirror+mirror(axis=2)', kind='logits')")
pixels = torch.rand(2, 3, 16, 16).mul(255).round() / 255
assert torch.allclose(mirrored(pixels), plain(pixels.flip(3).flip(2)), atol=1e-4)
assert mirrored.info.id.count("mirror") == 2 and mirrored.info.access == "scores"
queries = torch.tensor([0, 200], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 6, 6)
verdicts = reprogram.detect("bright-query(scale=2.0)", queries)
assert [(v.score, v.alarm) for v in verdicts] == [(0.0, False), (400.0, True)], verdicts
reprogram.load_detector("bright-query(threshold=7.0)").save(sys.argv[2] + "/detector.safetensors")
assert main(["detect", "--detector", sys.argv[2] + "/detector.safetensors", sys.argv[2] + "/none.csv"]) == 3
assert int(Path(sys.argv[2], "run", "count.txt").read_text()) > 2
bundle = Path(sys.argv[2], "bright.pt2")
assert main(["export", sys.argv[2] + "/a.safetensors", "--to", "bundle", "--out", str(bundle)]) == 0
scores = torch.export.load(bundle).module()(task.test.images)[0]
assert torch.allclose(scores, model(task.test.images), atol=1e-4)
variant, config = configure("formats", "headline")
assert variant(config).render(read_report(Path(sys.argv[3])), bundle.parent) == "gain-shown"
print("all of them work")
"""

REPORT = Path(__file__).resolve().parents[1] / "fixtures" / "audit" / "audit.json"


def test_one_file_a_variant_is_enough(tmp_path):
    source = Path(reprogram.__file__).parent
    copy = tmp_path / "src" / "reprogram"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        assert not (copy / name).exists()
        (copy / name).write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(copy.parent)}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(copy.parent), str(tmp_path), str(REPORT)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "all of them work" in result.stdout
    for text in FILES.values():
        assert text.partition("\n")[0].strip('"') in result.stdout
