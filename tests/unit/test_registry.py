"""Specs are data: what is parsed, what is refused, and that nothing unlisted is ever imported."""

import sys
from importlib.metadata import EntryPoint

import pytest

import reprogram
from reprogram import registry
from reprogram.cli.usage import variants_mistake
from reprogram.errors import ConfigError
from reprogram.registry import configure, find, names
from reprogram.utils.spec import Spec, parse

GOOD = {
    "frame": Spec(name="frame"),
    " frame ": Spec(name="frame"),
    "many_to_one": Spec(name="many-to-one"),
    "frame()": Spec(name="frame"),
    "frame(init=0.1)": Spec(name="frame", options={"init": 0.1}),
    "frame(init=-1, round_8bit=True,)": Spec(name="frame", options={"init": -1, "round_8bit": True}),
    "timm:resnet50.a1_in1k": Spec(name="timm", argument="resnet50.a1_in1k"),
    "timm:resnet50?pretrained=0": Spec(name="timm", argument="resnet50", options={"pretrained": 0}),
    "timm:r(seed=3)": Spec(name="timm", argument="r", options={"seed": 3}),
    "folder:a/b (1)/c": Spec(name="folder", argument="a/b (1)/c"),
    "folder:C:\\images": Spec(name="folder", argument="C:\\images"),
    "folder:a?b": Spec(name="folder", argument="a?b"),
    "restricted:(timm:r?seed=3)?k=2": Spec(name="restricted", argument="timm:r?seed=3", options={"k": 2}),
    "a:(b:(c(d=1))(e=2))(f=3)": Spec(name="a", argument="b:(c(d=1))(e=2)", options={"f": 3}),
    "folder:(a": Spec(name="folder", argument="(a"),
    "checkpoint:x?mean=0.5,0.25,1&licence=MIT": Spec(
        name="checkpoint", argument="x", options={"mean": (0.5, 0.25, 1), "licence": "MIT"}
    ),
    "checkpoint:x?architecture=timm:m(kwargs={'a':'b'})": Spec(
        name="checkpoint", argument="x", options={"architecture": "timm:m(kwargs={'a':'b'})"}
    ),
    "a?b=c%20d%26e": Spec(name="a", options={"b": "c d&e"}),
}


@pytest.mark.parametrize("text", GOOD)
def test_specs(text):
    assert parse(text) == GOOD[text]


BAD = [
    "",
    " ",
    "(",
    "1frame",
    "../frame",
    "frame)",
    "frame(",
    "frame(0.1)",
    "frame(init)",
    "frame(init=)",
    "frame(init=x)",
    "frame(init=1, init=2)",
    "frame(**{'init': 1})",
    "frame(*[1])",
    "frame(init=__import__('os').system('true'))",
    "frame(init=(lambda: 1)())",
    "frame(init=1)(init=2)",
    "frame(init=1);import os",
    "frame?init",
    "frame?init=1&init=2",
    "frame?in it=1",
    "frame\n(init=1)",
    "frame\x1b[31m",
    "frame\0",
    "frame(init=" + "(" * 2000 + ")",
    "frame(init=" + "-" * 3000 + "1)",
    "frame(init=" + "[" * 1500 + "]" * 1500 + ")",
    "x" * 5000,
    "frame.run",
    "frame@evil",
    "é",
]


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_no_specs(text, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        configure("programs", text)
    assert one_line(error).isprintable()


@pytest.mark.parametrize("name", ["base", "--init--", "os", "os.path", "_imagenet", "pathlib", "reprogram"])
def test_only_listed_names_are_imported(name, one_line):
    before = set(sys.modules)
    with pytest.raises(reprogram.ConfigError) as error:
        find("hosts", name)
    one_line(error)
    assert set(sys.modules) == before


@pytest.mark.parametrize("family", ["host", "Programs", "", "programs.frame"])
def test_unknown_families_are_refused(family, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        names(family)
    one_line(error)


def test_what_follows_the_colon_is_refused_where_it_makes_no_sense(one_line):
    for text in ("first:3", "digits:x", "resize:1"):
        family = {"f": "label-maps", "d": "tasks", "r": "canvases"}[text[0]]
        with pytest.raises(reprogram.ConfigError) as error:
            configure(family, text)
        one_line(error)


@pytest.mark.parametrize("text,option", [("untrained", "host"), ("timm(seed=1)", "model"), ("checkpoint()", "path")])
def test_an_option_that_is_missing_is_named(text, option, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        configure("hosts", text)
    name = text.partition("(")[0]
    assert one_line(error) == f"{name}: option {option} is missing; write {name}({option}=...)"


def test_given_twice_is_refused(one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        configure("hosts", "timm:resnet18(model='resnet34')")
    one_line(error, "twice")


def test_an_entry_point_whose_module_is_gone_is_one_line(one_line, monkeypatch):
    point = EntryPoint("gone", "no_such_module:Gone", "reprogram.detectors")
    monkeypatch.setattr("reprogram.registry._entry_points", lambda family: {"gone": point})
    with pytest.raises(ConfigError) as error:
        configure("detectors", "gone")
    one_line(error, "entry point 'gone'", "no_such_module", "install")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A function that installs the package `myplug`, whose module `my_loss` holds a text."""

    def install(text, *, point="my_loss"):
        package = tmp_path / "myplug"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "my_loss.py").write_text(text)
        record = tmp_path / "myplug-1.0.dist-info"
        record.mkdir()
        (record / "METADATA").write_text("Metadata-Version: 2.1\nName: myplug\nVersion: 1.0\n")
        (record / "entry_points.txt").write_text(f"[reprogram.losses]\n{point} = myplug.my_loss:MyLoss\n")
        monkeypatch.syspath_prepend(tmp_path)
        for name in ("myplug", "myplug.my_loss"):
            monkeypatch.delitem(sys.modules, name, raising=False)

    return install


LOSS = """\"\"\"My own loss.\"\"\"
from dataclasses import dataclass
from reprogram.losses.base import Loss

class MyLoss(Loss):
    def losses(self, answered):
        return answered.task @ answered.task
"""


@pytest.mark.parametrize("point", ["my_loss", "my-loss"])
def test_an_installed_variant_is_listed_by_its_name_and_first_line(installed, point):
    installed(LOSS, point=point)
    assert "my-loss" in registry.names("losses")
    assert registry.summary("losses", "my-loss") == "My own loss. (myplug)"
    assert configure("losses", "my_loss")[0].__name__ == configure("losses", "my-loss")[0].__name__ == "MyLoss"


@pytest.mark.parametrize(
    "text,says",
    [
        (LOSS + "    class Config:\n        a: int = 1\n", "no dataclass"),
        (LOSS.replace("class MyLoss", "class MyLoss("), "SyntaxError"),
        (LOSS + "1 / 0\n", "ZeroDivisionError"),
    ],
)
def test_an_installed_variant_with_a_mistake_is_one_line(installed, one_line, text, says):
    installed(text)
    with pytest.raises(ConfigError) as error:
        configure("losses", "my-loss")
    one_line(error, "myplug.my_loss", says)


def test_an_installed_variant_that_fails_is_named_with_its_line(installed):
    installed(LOSS)
    variant, config = configure("losses", "my-loss")
    with pytest.raises(AttributeError) as error:
        variant(config).losses(None)
    assert "my_loss.py, line 7: AttributeError: 'NoneType'" in variants_mistake(error.value)


def test_what_fails_outside_of_variants_is_no_variants_mistake():
    with pytest.raises(ZeroDivisionError) as error:
        1 / 0  # noqa: B018
    assert variants_mistake(error.value) is None
    with pytest.raises(AttributeError) as error:
        registry.find("losses", 3)
    assert variants_mistake(error.value) is None


def test_public_names_are_those_of_the_modules():
    for name in reprogram.__all__:
        value = getattr(reprogram, name)
        if name != "__version__":
            assert value.__name__ == name and value.__module__.startswith("reprogram.")
            assert value.__doc__.strip()
    with pytest.raises(AttributeError):
        reprogram.nonsense  # noqa: B018


@pytest.mark.parametrize(
    "family,spec",
    [
        ("label-maps", "frequency(images=0)"),
        ("programs", "fourier(init=-1)"),
        ("learners", "sgd(penalty=-1)"),
        ("learners", "adam(betas=(1, 0))"),
        ("canvases", "shuffled(contrast=2)"),
        ("label-maps", "linear(standardize=-1)"),
    ],
)
def test_a_value_that_a_variant_refuses_is_said_with_its_name_once(family, spec, one_line):
    name = spec.partition("(")[0]
    with pytest.raises(reprogram.ConfigError) as error:
        configure(family, spec)
    one_line(error, f"{name}: {spec.partition('(')[2].partition('=')[0]}=")
    assert str(error.value).count(name) == 1
