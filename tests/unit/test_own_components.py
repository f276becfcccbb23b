"""Programs and label maps of one's own that break their contract are refused in one line before anything is learned."""

import json
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import reprogram
from helpers import random_task
from reprogram import registry
from reprogram.errors import ConfigError, ProgramFileError
from reprogram.labelmaps._declared import check_declared
from reprogram.labelmaps.base import GroupMap
from reprogram.programs.frame import Frame
from reprogram.training.options import FitOptions
from reprogram.utils.validation import validate

K, k = 12, 3


class First(GroupMap):
    """A right one, from which wrong ones are made."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config, *, num_host_labels, num_task_labels):
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        self.set_groups(torch.arange(num_task_labels)[:, None])


def fails(self, *_):
    raise IndexError("no luck")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"run": lambda self, scores: scores[:, [0, 1, 99]]}, r"fails on scores of noise, in `run` \(IndexError"),
        ({"assignment": fails}, r"in `assignment` \(IndexError: no luck\)"),
        ({"assignment": lambda self: "abc"}, "gives 'abc' by `assignment`"),
        ({"assignment": lambda self: [[0], [1], [K]]}, f"below {K}"),
        ({"assignment": lambda self: [[0], [1]]}, "for each of 3 task labels"),
        ({"weights": lambda self: [[1.0]]}, "a number for each label of `assignment` by `weights`"),
        ({"reads": lambda self: torch.tensor([1, K])}, r"gives 'tensor\(\[ 1, 12\]\)' by `reads`"),
        ({"reads": lambda self: [0, 1, 2]}, r"gives '\[0, 1, 2\]' by `reads`"),
        ({"reads": lambda self: torch.tensor([0.0])}, "whole numbers"),
        ({"single_labels": lambda self: torch.tensor([0, 1])}, "by `single_labels` the host labels whose"),
        ({"single_labels": lambda self: torch.tensor([1, 0, 2])}, "by `single_labels` the host labels whose"),
        ({"refit_schedule": "epochs"}, "says `refit_schedule = 'epochs'`; write `refit`"),
        (
            {"refit_schedule": "once", "refit": lambda self, _: None, "contribution": lambda self, s: s[:, :2]},
            r"in `update` \(RuntimeError",
        ),
    ],
)
def test_a_label_map_that_is_not_what_it_says(wrong, said):
    own = type("Own", (First,), wrong)(First.Config(), num_host_labels=K, num_task_labels=k)
    with pytest.raises(ConfigError, match=f"Own .*{said}"):
        check_declared(own)


@pytest.mark.parametrize("name", registry.names("label-maps"))
def test_ours_are_what_they_say(name):
    variant = registry.find("label-maps", name)
    label_map = variant(variant.example(), num_host_labels=120, num_task_labels=10)
    label_map.initialize(tuple(f"host {i}" for i in range(120)), tuple(f"task {i}" for i in range(10)))
    before = {key: value.clone() for key, value in label_map.state_dict().items()}
    check_declared(label_map)
    assert label_map.statistics is None
    assert all(torch.equal(value, before[key]) for key, value in label_map.state_dict().items())


@pytest.mark.parametrize("given", [None, torch.zeros(2, 3, 8, 8)])
def test_a_program_that_gives_no_framed(monkeypatch, given):
    model = reprogram.Reprogrammed.build(reprogram.load_host("linear:32"), random_task(num_classes=3))
    monkeypatch.setattr(Frame, "run", lambda self, framed: given)
    with pytest.raises(ConfigError, match=r"Frame makes .*; return a Framed"):
        model(random_task(num_classes=3).test.images[:2])


@pytest.mark.parametrize("kind", ["pruned", "tied", "complex", "lazy"])
def test_what_the_reader_would_refuse_is_not_written(tmp_path, kind):
    model = reprogram.Reprogrammed.build(reprogram.load_host("linear:32"), random_task(num_classes=3))
    if kind == "pruned":
        prune.random_unstructured(model.program, "weight", 0.5)
    elif kind == "tied":
        model.program.again = model.program.weight
    elif kind == "complex":
        model.program.weight = nn.Parameter(torch.zeros_like(model.program.weight, dtype=torch.complex64))
    else:
        model.program.layer = nn.LazyLinear(3)
    with pytest.raises(ProgramFileError, match=r"program\.safetensors: can't be saved, the file would not be read: "):
        model.save(tmp_path / "program.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_component_whose_init_takes_something_else(monkeypatch):
    def init(self, config, *, geometry, extra):
        raise AssertionError

    monkeypatch.setattr(Frame, "__init__", init)
    with pytest.raises(ConfigError, match=r"Frame: its __init__ can't be called with config, geometry.*'extra'"):
        reprogram.Reprogrammed.build(reprogram.load_host("linear:32"), random_task(num_classes=3))


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_gradients_that_a_caller_switched_off(tmp_path, mode):
    """What is built, loaded or learned there can be learned all the same."""
    host, task = reprogram.load_host("linear:32"), random_task(num_classes=3)
    plain = reprogram.Reprogrammed.build(host, task, label_map="random")
    plain.save(tmp_path / "start.safetensors")
    with mode():
        built = reprogram.Reprogrammed.build(host, task, label_map="random")
        loaded = reprogram.load(tmp_path / "start.safetensors")
        reprogram.fit(plain, task, images=64)
        assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode) and not torch.is_grad_enabled()
    for model in (built, loaded):
        reprogram.fit(model, task, images=64)
        assert torch.equal(model.program.weight, plain.program.weight)


@pytest.mark.parametrize("data", [None, "digits", (torch.zeros(2, 3, 8, 8), torch.zeros(2))])
def test_what_is_no_data(data):
    model = reprogram.Reprogrammed.build(reprogram.load_host("linear:32"), random_task(num_classes=3))
    with pytest.raises(ConfigError, match=r"^data=.*; a Split or a Task is expected$"):  # One line, with an array too.
        reprogram.evaluate(model, data)


def test_what_is_no_task_and_no_model():
    task = random_task(num_classes=3)
    model = reprogram.Reprogrammed.build("linear:32", task)
    with pytest.raises(ConfigError, match=r"^a str is no task; give a Task, such as reprogram\.load_task returns$"):
        reprogram.fit(model, "digits", images=10)
    with pytest.raises(ConfigError, match=r"^a PosixPath is no model; give what Reprogrammed\.build or"):
        reprogram.fit(Path("learned.safetensors"), task, images=10)
    with pytest.raises(ConfigError, match=r"^model='learned\.safetensors'; a Module or a function is expected$"):
        reprogram.evaluate("learned.safetensors", task)


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        (lambda scores: scores.argmax(1), "the model gives 5 for 5 images"),
        (lambda scores: (scores,), "the model gives a tuple"),
        (lambda scores: scores.numpy(), "the model gives a ndarray"),
        (lambda scores: scores[:3], "the model gives 3 x 3 for 5 images; 5 x k scores are expected"),
        (lambda scores: scores.sum(), "the model gives one number for 5 images"),
    ],
)
def test_a_function_that_gives_no_scores_is_refused(gives, said, one_line):
    task = random_task(num_classes=3, n=(8, 4, 5))
    with pytest.raises(ConfigError) as error:
        reprogram.evaluate(lambda images: gives(images.float().mean((2, 3))), task)
    one_line(error, said)


@pytest.mark.parametrize("gives", ["sparse", "meta"])
def test_scores_that_are_no_plain_tensor(gives):
    def classify(pixels):
        scores = pixels.flatten(1)[:, :12]
        return scores.to_sparse() if gives == "sparse" else scores.to("meta")

    with pytest.raises(ConfigError, match=r"^host callable: .*(sparse tensor|on the device meta)"):
        reprogram.Host.wrap(classify, size=16)


@pytest.mark.parametrize("known", [False, True])
def test_answers_that_name_no_label_of_the_host(known, recwarn):
    """A mistake in the names, which else looks like a host that can't be used."""
    names = tuple(f"label {i}" for i in range(12))

    def classify(pixels):
        return ["Label 3" if i or not known else "label 3" for i in range(len(pixels))]

    host = reprogram.Host.wrap(classify, size=16, class_names=names, outputs="labels")
    for _ in range(6):
        host(torch.zeros(8, 3, 16, 16))
    said = [str(warning.message) for warning in recwarn if "class_names" in str(warning.message)]
    assert len(said) == (not known) and all("'Label 3'" in text for text in said)


@dataclass(frozen=True, kw_only=True)
class Undefined:
    """Options of a type that isn't there."""

    size: "NotThere" = 3  # type: ignore[name-defined]  # noqa: F821


def test_options_of_a_type_that_is_not_there():
    with pytest.raises(ConfigError, match=r"own: .*Undefined: NameError: name 'NotThere' is not defined; mend"):
        validate(Undefined, {}, component="own")


@pytest.mark.parametrize("spec", ["linear:32", "timm:test_resnet(pretrained=False, num_classes=16, size=48)"])
def test_hosts_that_are_built_in_several_threads_are_the_same(spec):
    """All threads share torch's generators: each has to have its turn."""
    expected, found = reprogram.load_host(spec).fingerprint, []
    before = torch.random.get_rng_state()

    def build():
        found.extend(reprogram.load_host(spec).fingerprint for _ in range(3))

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 12
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_host_that_is_built_while_another_thread_learns_is_the_same():
    host, task = reprogram.load_host("linear:32"), random_task(num_classes=3)
    options = FitOptions(images=320, loss="task")
    model = reprogram.Reprogrammed.build(host, task)
    reprogram.fit(model, task, options)
    expected, found = model.learned_state(), []

    def learn():
        again = reprogram.Reprogrammed.build(host, task)
        reprogram.fit(again, task, options, on_progress=lambda _: found.append(len(found)))
        found.append(again.learned_state())

    thread = threading.Thread(target=learn)
    thread.start()
    built = []
    while thread.is_alive():
        built.append(reprogram.load_host("linear:32").fingerprint)
    thread.join()
    assert set(built) == {host.fingerprint}
    assert all(torch.equal(value, found[-1][key]) for key, value in expected.items())
    assert json.dumps(found[:-1])
