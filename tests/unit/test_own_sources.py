"""Hosts and tasks of one's own that break their contract are refused in one line, before anything is learned."""

import re
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import reprogram
from helpers import random_task
from reprogram.defences.base import InputDefence
from reprogram.errors import ConfigError, DataError
from reprogram.hosts import _factory, _inner
from reprogram.hosts._guard import Guard
from reprogram.hosts._trial import try_out
from reprogram.hosts.base import Host, HostInfo, HostSource
from reprogram.hosts.defended import guarded
from reprogram.tasks import _factory as _task_factory
from reprogram.tasks.base import TaskSource

NET = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 12))
INFO = {"id": "own", "num_classes": 12, "size": (16, 16)}


@pytest.mark.parametrize(("gives", "said"), [(None, "builds nothing; return a Host"), (NET, "builds Sequential;")])
def test_a_source_that_builds_no_host(monkeypatch, gives, said):
    class Own(HostSource):
        def build(self, *, download=False):
            return gives

    with pytest.raises(ConfigError, match=rf"{re.escape(__file__)}: Own {said}"):
        _factory.built(Own(Own.Config()))
    monkeypatch.setattr(_inner, "configure", lambda *_: (Own, Own.Config()))
    with pytest.raises(ConfigError, match=rf"{re.escape(__file__)}: Own {said}"):
        reprogram.load_host("restricted(host='own', access='label')")


def test_a_host_whose_id_is_no_spec(monkeypatch):
    class Own(HostSource):
        def build(self, *, download=False):
            return Host(NET, HostInfo(**INFO))

    source = _factory.host_source
    monkeypatch.setattr(_factory, "host_source", lambda spec: Own(Own.Config()) if spec == "mine" else source(spec))
    with pytest.raises(ConfigError, match=rf"{re.escape(__file__)}: Own calls its host 'own', which is no spec that"):
        reprogram.load_host("mine")


@pytest.mark.parametrize(("gives", "said"), [(None, "loads nothing; return a Task"), ((1, 2), "loads tuple;")])
def test_a_source_that_loads_no_task(monkeypatch, gives, said):
    class Own(TaskSource):
        def load(self, *, download=False):
            return gives

    monkeypatch.setattr(_task_factory, "task_source", lambda *_, **__: Own(Own.Config()))
    with pytest.raises(ConfigError, match=rf"{re.escape(__file__)}: Own {said}"):
        reprogram.load_task("own")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"id": 3}, "id must be text"),
        ({"num_classes": "12"}, "num_classes='12'.*whole numbers"),
        ({"channels": 3.0}, r"channels=3\.0.*whole numbers"),
        ({"size": 16}, "size=16; whole numbers are expected, and two for size"),
        ({"size": (16, 16, 3)}, "two for size"),
        ({"mean": ("a", "b", "c")}, "mean=.*numbers are expected"),
        ({"std": 0.5}, r"std=0\.5; numbers are expected"),
        ({"crop": "all"}, "crop='all'; numbers are expected"),
        ({"num_classes": 2, "class_names": (0, 1)}, "class_names must be texts"),
    ],
)
def test_a_record_of_other_types(given, said):
    with pytest.raises(ConfigError, match=f"^host .*{said}"):
        HostInfo(**INFO | given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": 3}, "3 is int; the task's name and classes are texts"),
        ({"class_names": (0, 1)}, "0 is int; the task's name and classes are texts"),
        ({"validation": [1, 2]}, "validation is list; give a Split"),
    ],
)
def test_a_task_of_other_types(given, said):
    task = random_task(num_classes=2)
    with pytest.raises(DataError, match=f"^task .*: {said}"):
        replace(task, **given)


class Smear(InputDefence):
    """The mean of squares whose sides are `size` pixels long, in 8 bits; how far it reaches is given."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        size: int
        reach: int | None

    @property
    def reach(self):
        return self.config.reach

    def transform(self, images, draws):
        margin = self.config.size // 2
        padded = F.pad(images, (margin,) * 4, mode="replicate")
        return (F.avg_pool2d(padded, self.config.size, stride=1) * 255).round() / 255


def smeared(size, reach):
    bare = Host(NET, HostInfo(**INFO))
    return guarded(bare, Guard([Smear(Smear.Config(size=size, reach=reach))]), "own")


@pytest.mark.parametrize("reach", [0, 1])
def test_a_defence_that_reaches_further_than_it_says(reach):
    with pytest.raises(
        ConfigError, match=rf"{re.escape(__file__)}: Smear changes pixels by others .* than reach={reach};"
    ):
        try_out(smeared(5, reach))


@pytest.mark.parametrize("reach", [2, 3, None])
def test_a_defence_that_reaches_as_far_as_it_says(reach):
    host = smeared(5, reach)
    try_out(host)
    assert host.meter.images == 0


class Detached(nn.Module):
    """Scores without a gradient, from a host that says that it gives one."""

    def forward(self, images):
        with torch.no_grad():
            return NET(images)


def test_a_host_whose_gradient_is_cut_off():
    host, task = Host(Detached(), HostInfo(**INFO)), random_task(num_classes=3)
    model = reprogram.Reprogrammed.build(host, task)
    with pytest.raises(ConfigError, match=r"no gradient for adam to follow: host, .*such as spsa-gc"):
        reprogram.fit(model, task, images=32)
    reprogram.fit(model, task, images=320, learner="spsa-gc")
