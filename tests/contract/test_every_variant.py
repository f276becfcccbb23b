"""Every variant of every family, as the registry lists them: configuration, specs, refusals, and that it works."""

import dataclasses
import itertools
import json
import math
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import reprogram
from helpers import ConvNet, seeded, tiny_clip, tiny_hf, tiny_onnx
from helpers_server import ModelServer
from reprogram import registry
from reprogram.detectors._calibration import learned_half
from reprogram.detectors.base import Query
from reprogram.hosts._remote import RemoteSource
from reprogram.labelmaps._calibration import fit_without_program
from reprogram.labelmaps._counts import CountMap
from reprogram.learners.base import Progress
from reprogram.losses.base import Answered
from reprogram.registry import FAMILIES, configure, find, format_spec, names, summary

VARIANTS = [(family, name) for family in FAMILIES for name in names(family)]
variants = pytest.mark.parametrize("family,name", VARIANTS)


def test_the_foundation_is_listed():
    wanted = {
        "hosts": {"checkpoint", "efficientnet-lite0", "linear", "timm", "torchvision"},
        "tasks": {"cifar10", "digits", "folder", "mnist", "squares"},
        "canvases": {"centre", "resize", "shuffled"},
        "programs": {"frame", "full", "patch"},
        "label-maps": {"bayesian", "confidence", "first", "frequency", "greedy", "iterative", "linear"}
        | {"label-bayes", "many-to-one", "random", "shown-bayes"},
        "learners": {"adam", "normalized-sgd", "sgd"},
        "augmentations": {"flip", "none", "shift"},
        "losses": {"focal", "host", "leave-one-out", "margin", "mutual-information", "rank", "smoothed", "task"},
        "trackers": {"mlflow", "tensorboard", "trackio", "wandb"},
        "baselines": {"chance", "majority", "map-alone", "linear-probe", "direct-training", "untrained"},
        "defences": {"bit-depth", "blur", "jpeg", "label-only", "median", "noise", "random-padding", "resize-back"}
        | {"rounding", "smoothing", "temperature", "top-k"},
        "detectors": {"repeated-border", "repeated-content", "persistent-detail", "still-cells", "blacklight", "piha"}
        | {"coarse-neighbours"}
        | {"encoder-neighbours", "largest-softmax", "energy", "mahalanobis", "neighbours", "concentration"},
        "exporters": {"onnx", "openvino", "pt2"},
        "formats": {"cyclonedx", "html", "json", "junit", "markdown", "sarif"},
    }
    assert wanted.keys() == FAMILIES.keys()
    for family, some in wanted.items():
        assert some <= set(names(family))
        assert names(family) == sorted(names(family))


@variants
def test_has_a_summary_and_a_frozen_keyword_only_config(family, name):
    assert summary(family, name).strip().endswith(".")
    variant = find(family, name)
    assert variant.name() == name
    assert dataclasses.is_dataclass(variant.Config)
    assert variant.Config.__dataclass_params__.frozen
    assert all(f.kw_only for f in dataclasses.fields(variant.Config))
    assert (variant.__doc__ or "").strip()
    assert isinstance(variant.example(), variant.Config)


@variants
def test_spec_round_trips(family, name):
    variant = find(family, name)

    text = format_spec(SimpleNamespace(config=variant.example(), name=variant.name))
    again, config = configure(family, text)
    assert again is variant and config == variant.example()
    assert format_spec(SimpleNamespace(config=config, name=variant.name)) == text


@variants
def test_unknown_option_is_refused_with_the_nearest(family, name, one_line):
    variant = find(family, name)
    with pytest.raises(reprogram.ConfigError) as error:
        configure(family, f"{name}(xyzzy=1)")
    one_line(error, "xyzzy", name)
    for field in dataclasses.fields(variant.Config):
        with pytest.raises(reprogram.ConfigError) as error:
            configure(family, f"{name}({field.name}x=1)")
        one_line(error, f"did you mean {field.name!r}")


@variants
def test_misspelt_name_is_refused_with_the_nearest(family, name, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        configure(family, name + "x")
    one_line(error, name + "x", f"did you mean {name!r}")


@variants
def test_values_of_the_wrong_type_are_refused(family, name, one_line):
    fields = dataclasses.fields(find(family, name).Config)
    required = {f.name: "'x'" for f in fields if f.default is f.default_factory is dataclasses.MISSING}
    for field in fields:
        options = {**required, field.name: "[None, {1: 2}]"}
        with pytest.raises(reprogram.ConfigError) as error:
            configure(family, f"{name}({', '.join(f'{key}={value}' for key, value in options.items())})")
        one_line(error, field.name)


def host():
    """A host on which every program makes a difference: contrast is magnified."""
    net = seeded(lambda: ConvNet(num_classes=32, width=16))
    return reprogram.Host.wrap(net, size=48, mean=(0.5,) * 3, std=(0.05,) * 3, name="contract")


def spec_of(family, name):
    variant = find(family, name)
    return format_spec(SimpleNamespace(config=variant.example(), name=variant.name))


def leaves_nothing_to_learn(parts, task):
    """Whether the program needs a frame, and the canvas has none: that must be refused, and nothing else."""
    try:
        reprogram.Reprogrammed.build(host(), task, **parts)
    except reprogram.ConfigError as error:
        assert "covers the whole canvas" in str(error)
        variant, config = configure("canvases", parts["canvas"])
        assert not variant(config, image_shape=task.image_shape, host_shape=(3, 48, 48)).geometry.mask().any()
        built = reprogram.Reprogrammed.build(host(), task, **{**parts, "canvas": "centre"}).program
        assert built.confined or built.moves
        return True
    return False


def combinations():
    """All of them with `make combinations`; else each program and each label map on every canvas, and with each other
    every third one. Slow programs, of which images share nothing, meet every canvas once.
    """
    found, canvases, label_maps = [], names("canvases"), names("label-maps")
    moving = [name for name in names("programs") if registry.find("programs", name).moves or name == "coordinator"]
    if os.environ.get("ALL_COMBINATIONS"):
        return list(itertools.product(canvases, names("programs"), label_maps))
    for i, program in enumerate(name for name in names("programs") if name not in moving):
        for j in range(-i % 3, len(label_maps), 3):
            found.append((canvases[(i + j // 3) % len(canvases)], program, label_maps[j]))
    for i, program in enumerate(moving):
        for j, canvas in enumerate(canvases):
            found.append((canvas, program, label_maps[(i + j) % len(label_maps)]))
    return found


def test_the_combinations_leave_no_pair_with_a_canvas_out():
    chosen = combinations()
    canvases = set(names("canvases"))
    assert all({c for c, p, _ in chosen if p == program} == canvases for program in names("programs"))
    assert all({c for c, _, m in chosen if m == label_map} == canvases for label_map in names("label-maps"))


def learned(model, squares, rate):
    """Learn for a second, and say whether that made it better."""
    start = model.learned_state()
    reading = fit_without_program(model.label_map, model.host_scores, squares.train)  # As it is at the first step.
    with torch.no_grad():
        before = reprogram.evaluate(lambda images: reading(model.host_scores(images)), squares.train).loss
    options = {"learner": f"adam(learning_rate={rate})", "loss": "task"}  # The loss that is looked at below.
    fitted = reprogram.fit(model, squares, epochs=3, batch_size=16, validations=1, **options)
    assert fitted.images_seen == 480
    assert any(not torch.equal(value, start[key]) for key, value in model.learned_state().items())
    if model.label_map.refit_schedule == "epochs":  # The program's start values, read by the last map.
        last = model.learned_state()
        model.load_learned_state(last | {key: value for key, value in start.items() if key.startswith("program.")})
        before = reprogram.evaluate(model, squares.train).loss
        model.load_learned_state(last)
    after = reprogram.evaluate(model, squares.train)
    if isinstance(model.label_map, CountMap):  # Which labels this host shows hardly depends on the image.
        return math.isfinite(after.loss)
    if model.label_map.refit_schedule == "steps":  # Its first fit knows the images that it is made from by heart.
        return after.accuracy > 2 / squares.num_classes
    return after.loss < before


@pytest.mark.parametrize("canvas,program,label_map", combinations())
def test_every_combination_learns_saves_and_loads(canvas, program, label_map, squares, tmp_path):
    parts = {
        "canvas": spec_of("canvases", canvas),
        "program": spec_of("programs", program),
        "label_map": spec_of("label-maps", label_map),
    }
    if leaves_nothing_to_learn(parts, squares):
        return
    model = reprogram.Reprogrammed.build(host(), squares, **parts, seed=3)
    if not model.learned_parameters():
        assert program in ("none", "views")
        if model.label_map.refit_schedule == "never":
            with pytest.raises(reprogram.ConfigError, match="anything to learn"):
                reprogram.fit(model, squares)
            return
        assert reprogram.fit(model, squares).images_seen == 0, "a fitted map takes no step"
    else:
        holds_a_network = any(module is not model.program for module in model.program.modules())
        better = not holds_a_network and learned(model, squares, 0.05)
        if not better:
            model = reprogram.Reprogrammed.build(host(), squares, **parts, seed=3)
            better = learned(model, squares, 0.01)
        assert better, "a network needs a smaller step"

    path = model.save(tmp_path / "a.safetensors")
    again = reprogram.load(path, host=host())
    assert again.save(tmp_path / "b.safetensors").read_bytes() == path.read_bytes()
    images = squares.test.images[:9]
    with torch.no_grad():
        assert torch.equal(again(images), model(images))
    assert [format_spec(p) for p in (again.canvas, again.program, again.label_map)] == [
        format_spec(p) for p in (model.canvas, model.program, model.label_map)
    ]


@pytest.mark.parametrize("program", names("programs"))
def test_programs_give_valid_pixels_and_touch_no_other_image(program, squares):
    model = reprogram.Reprogrammed.build(host(), squares, program=spec_of("programs", program), seed=3)
    canvas = model.canvas(squares.test.images[:6])
    before = canvas.frame.clone(), canvas.window.clone()
    pixels = model.program(canvas).dense()
    assert pixels.shape == (6 * model.program.num_views, 3, 48, 48)
    assert pixels.min() >= 0 and pixels.max() <= 1
    assert torch.equal(canvas.frame, before[0]) and torch.equal(canvas.window, before[1])
    alone = model.program(model.canvas(squares.test.images[2:3])).dense()
    torch.testing.assert_close(alone[0], pixels[2], rtol=0, atol=1e-6)  # A network may sum in another order.


@pytest.mark.parametrize("label_map", names("label-maps"))
def test_label_maps_give_a_score_and_an_assignment_a_label(label_map):
    _, config = configure("label-maps", spec_of("label-maps", label_map))
    built = find("label-maps", label_map)(config, num_host_labels=32, num_task_labels=5)
    assert built(torch.randn(3, 32)).shape == (3, 5)
    assert len(built.assignment()) == 5
    assert all(0 <= label < 32 for row in built.assignment() for label in row)
    built.validate()


@pytest.mark.parametrize("label_map", names("label-maps"))
def test_label_maps_say_whether_the_hosts_softmax_gives_each_class_a_probability(label_map):
    """P_i = exp(t_i) / Σ_j exp(s_j) of all classes sum to 1 at the most for any answer, or they are none."""
    _, config = configure("label-maps", spec_of("label-maps", label_map))
    built = find("label-maps", label_map)(config, num_host_labels=32, num_task_labels=5)
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(60, 32, generator=generator)
    scores[:, 7] += 20  # The host says the same of all images.
    if built.refit_schedule != "never":
        built.update(scores, torch.arange(60) % 5)
        built.fit_from_statistics()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter += torch.randn(parameter.shape, generator=generator)
        answers = torch.cat([scores, scores + 30, scores - 30])
        largest = (built(answers).logsumexp(1) - answers.logsumexp(1)).max()
    assert (largest < 1e-4) == built.has_own_labels


@pytest.fixture
def example_files(tmp_path, monkeypatch):
    """What the examples of hosts and tasks read, in the current folder."""
    monkeypatch.chdir(tmp_path)
    net = reprogram.load_host("timm:test_resnet(pretrained=False, num_classes=16, size=48)").net
    save_file(net.state_dict(), "example.safetensors")
    config = {"architecture": "test_resnet", "num_classes": 16, "pretrained_cfg": {"input_size": [3, 48, 48]}}
    (tmp_path / "example-timm").mkdir()
    (tmp_path / "example-timm" / "config.json").write_text(json.dumps(config))
    save_file(net.state_dict(), "example-timm/model.safetensors")
    tiny_clip(tmp_path / "example-clip")
    tiny_hf(tmp_path / "example-hf")
    tiny_onnx(tmp_path / "example.onnx")
    (tmp_path / "example.py").write_text("def classify(pixels):\n    return pixels.flatten(1)[:, ::500]\n")
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "example" / label).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(
                tmp_path / "example" / label / f"{i}.png"
            )
    arrays = {
        f"x_{part}": rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8) for part, n in (("train", 60), ("test", 30))
    }
    for file in ("cifar.npz", "example.npz"):
        np.savez(tmp_path / file, **arrays, y_train=np.arange(60) % 10, y_test=np.arange(30) % 10)
    return tmp_path


@pytest.fixture
def server():
    """A model server on this machine, for hosts behind a network."""
    with ModelServer() as running:
        yield running


@pytest.mark.parametrize("name", names("hosts"))
def test_hosts_build_and_their_id_builds_them_again(name, example_files, server):
    variant = find("hosts", name)
    example = variant.example()
    if issubclass(variant, RemoteSource):
        pytest.importorskip("httpx2", reason="needs the extra remote")
        example = dataclasses.replace(example, url=re.sub(r"http://[^/]+", server.url, example.url))
    source = variant(example)
    built = source.build()
    info = built.info
    assert source.info() in (None, info) and source.has_random_weights() == (info.licence == "random weights: none")
    assert all(path.exists() for path in source.needs(source.config))
    pixels = torch.rand(2, *info.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores = built(pixels)
    assert scores.shape == (2, info.num_classes)
    assert torch.isfinite(scores).all() and not torch.equal(scores[0], scores[1])
    assert info.licence and built.training is False
    assert not any(p.requires_grad for p in built.parameters())
    again = reprogram.load_host(info.id)
    assert again.fingerprint == built.fingerprint and again.info == info
    if built.untrained is not None:
        other = built.untrained(5)
        assert other.info.shape == info.shape and other.info.num_classes == info.num_classes
        assert other.fingerprint != built.fingerprint
        assert built.untrained(5).fingerprint == other.fingerprint


@pytest.mark.parametrize("name", names("tasks"))
def test_tasks_load_the_same_each_time(name, example_files):
    spec = spec_of("tasks", name)
    data = "cifar.npz" if name == "cifar10" else ""
    task, again = reprogram.load_task(spec, data=data), reprogram.load_task(spec, data=data)
    assert task.fingerprint == again.fingerprint
    assert task.num_classes == len(task.class_names) >= 2
    for part in ("train", "validation", "test"):
        split = getattr(task, part)
        assert len(split) and split.images.dtype == torch.uint8 and split.images.shape[1:] == task.image_shape
        assert split.labels.min() >= 0 and split.labels.max() < task.num_classes


class Distance:
    """The squared distance of a parameter from a target, as the objective of a batch of three images."""

    num_images = 3
    whole_batch = False

    def __init__(self, parameter, target):
        self.parameter, self.target = parameter, target

    def __call__(self):
        return (self.parameter - self.target).square().sum()

    def losses(self, points, images):
        return (points - self.target).square().sum(1, keepdim=True).expand(-1, images.stop - images.start)


@pytest.mark.parametrize("name", sorted(set(names("learners")) - {"none"}))
def test_learners_minimise_and_resume(name):
    """A quadratic: the loss falls; stopped and gone on is the same as never stopped."""
    target = torch.linspace(-1, 1, 12)

    def start():
        parameter = torch.nn.Parameter(torch.zeros(12))
        learner = find("learners", name)(find("learners", name).example())
        learner.start([parameter])
        return parameter, learner

    def steps(parameter, learner, first, last):
        return [
            learner.step(Distance(parameter, target), Progress(fraction=i / 40, epoch=i // 10))
            for i in range(first, last)
        ]

    parameter, learner = start()
    losses = steps(parameter, learner, 0, 20)
    assert losses[-1] < losses[0]
    other, fresh = start()
    other.data.copy_(parameter.data)
    fresh.load_state_dict({key: value.clone() for key, value in learner.state_dict().items()})
    assert steps(parameter, learner, 20, 40) == steps(other, fresh, 20, 40)
    assert torch.equal(parameter, other)


@pytest.mark.parametrize("name", names("losses"))
def test_losses_are_smaller_for_right_answers_and_say_truly_whether_they_have_a_gradient(name):
    loss = find("losses", name)(find("losses", name).example())
    labels = torch.arange(60) % 4
    right = torch.nn.functional.one_hot(labels, 9).double() * 3
    wrong = right[torch.randperm(60, generator=torch.Generator().manual_seed(0))]

    def answered(host, labels):
        """The answers to a batch whose features are the scores."""
        return Answered(host=host, task=host[:, :4], labels=labels, features=host, single_labels=torch.arange(4))

    def losses(host):
        return loss.losses(answered(host, labels))

    assert losses(right).shape == (60,) and torch.isfinite(losses(wrong)).all()
    assert losses(right).mean() < losses(wrong).mean()
    scores = wrong.clone().requires_grad_()
    assert losses(scores).requires_grad == loss.differentiable
    if not loss.whole_batch:
        torch.testing.assert_close(losses(wrong)[:1], loss.losses(answered(wrong[:1], labels[:1])))


def queries(num_accounts=3, n=240, d=12):
    """Made-up queries with answers, of some accounts in turn."""
    generator = np.random.default_rng(0)
    for i in range(n):
        image = generator.integers(0, 256, (3, 24, 24), dtype=np.uint8)
        yield Query(image=image, account=f"account {i % num_accounts}", answer=generator.normal(size=d))


def observed(detector, sent):
    return [detector.observe(query.image, query.account, query.answer) for query in sent]


@pytest.mark.parametrize("name", names("detectors"))
def test_detectors_keep_their_rate_and_go_on_from_their_file(name, tmp_path):
    """Alarms on the benign queries that set the threshold are within the rate; stopped and gone on is never stopped."""
    detector = find("detectors", name)(find("detectors", name).example())
    sent = list(queries())
    detector.calibrate(sent, 0.1)
    half = learned_half([query.account for query in sent])
    last = [q for q, learned in zip(sent, half, strict=True) if not learned] if detector.fits else sent
    assert sum(verdict.alarm for verdict in observed(detector, last)) <= 0.1 * (detector.num_calibrated + 1)
    detector.reset()
    observed(detector, sent[:60])
    again = reprogram.load_detector(detector.save(tmp_path / "state.safetensors"))
    assert format_spec(again) == format_spec(detector) and again.num_calibrated == detector.num_calibrated > 0
    assert again.threshold == detector.threshold and again.accounts() == detector.accounts()
    assert observed(again, sent[60:]) == observed(detector, sent[60:])
    size = again.bytes_per_account
    kept = {key: value for key, value in again.state_dict().items() if len(value) == len(again.accounts()) == 3}
    assert sum(value.nbytes for value in kept.values()) == size * len(again.accounts())


@pytest.mark.parametrize("name", names("detectors"))
def test_detectors_take_images_of_any_size_and_tell_accounts_apart(name):
    detector = find("detectors", name)(dataclasses.replace(find("detectors", name).example(), threshold=0.0))
    detector.calibrate(queries(), 0.1)
    answer = np.ones(12)
    for shape in [(1, 1, 1), (1, 3, 40), (3, 40, 3), (3, 17, 19), (3, 224, 224)]:
        images = np.random.default_rng(1).integers(0, 256, (2, *shape), dtype=np.uint8)
        for image in images:
            alone = detector.observe(torch.from_numpy(image), "one", answer)
            assert np.isfinite(alone.score) and np.isfinite(detector.observe(image, "other", answer).score)
    detector.reset()
    first = detector.observe(images[0], "one", answer)
    for _ in range(30):
        detector.observe(images[1], "other", answer)
    detector.reset()
    assert detector.observe(images[0], "one", answer) == first


def test_listing_imports_nothing(monkeypatch):
    monkeypatch.setattr(registry.importlib, "import_module", lambda name: pytest.fail(f"imported {name}"))
    assert all(names(family) and summary(family, names(family)[0]) for family in FAMILIES)
