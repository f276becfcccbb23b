"""Arguments of calls in scripts: what has the wrong type is refused by one line that names it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

import reprogram
from helpers import random_task, tiny_model
from reprogram.utils.arguments import checked


class Indexed:
    """What Python iterates over by index alone, such as a data set of PyTorch."""

    def __getitem__(self, index: int) -> int:
        """Three items."""
        return [1, 2, 3][index]


@checked
def call(
    *words: str,
    number: int = 0,
    share: float = 0.0,
    flag: bool = False,
    names: Sequence[str] = (),
    numbers: Sequence[int] = (),
    either: str | Sequence[str] = "",
    place: str | Path | None = None,
    kind: Literal["a", "b"] = "a",
    table: Mapping[str, int] | None = None,
    things: Iterable[Any] = (),
    function: Callable[[int], int] = abs,
    anything: Any = None,
    **others: int,
) -> str:
    """It takes anything that its annotations say."""
    return f"{words} {number} {others}"


@pytest.mark.parametrize(
    "given",
    [
        {"number": 3}, {"number": np.int64(3)}, {"number": torch.tensor(3)}, {"share": 1}, {"share": np.float32(0.5)},
        {"flag": True}, {"flag": np.bool_(True)}, {"numbers": np.arange(2)}, {"numbers": torch.arange(2)},
        {"names": ["x", "y"]}, {"names": ()}, {"either": "x"}, {"either": ("x",)}, {"place": None},
        {"place": Path("x")}, {"kind": "c"}, {"table": {"a": 1}}, {"things": iter([1])}, {"things": np.zeros(2)},
        {"function": len}, {"anything": object()}, {"other": 3}, {"things": Indexed()}, {"names": np.array(["x", "y"])},
    ],
)  # fmt: skip
def test_what_the_annotations_say_is_taken(given):
    assert call("a", "b", **given).startswith("('a', 'b') ")


@pytest.mark.parametrize(
    "given,line",
    [
        ({"number": "3"}, "number='3'; a whole number is expected"),
        ({"number": 1.5}, "number=1.5; a whole number is expected"),
        ({"number": True}, "number=True; a whole number is expected"),
        ({"share": "x"}, "share='x'; a number is expected"),
        ({"flag": 1}, "flag=1; true or false is expected"),
        ({"names": "xy"}, "names='xy'; a list of text is expected"),
        ({"names": ["x", 3]}, "names=['x', 3]; a list of text is expected"),
        ({"names": 3}, "names=3; a list of text is expected"),
        ({"numbers": np.array([1.5])}, "numbers=array([1.5]); a list of whole numbers is expected"),
        ({"numbers": np.array(3)}, "numbers=array(3); a list of whole numbers is expected"),
        ({"either": [3]}, "either=[3]; text or a list of text is expected"),
        ({"place": 3}, "place=3; text or a path or None is expected"),
        ({"kind": 3}, "kind=3; text is expected"),
        ({"table": [1]}, "table=[1]; a dict or None is expected"),
        ({"things": 3}, "things=3; a list is expected"),
        ({"things": "xy"}, "things='xy'; a list is expected"),
        ({"function": 3}, "function=3; a function is expected"),
        ({"other": "x"}, "others='x'; a whole number is expected"),
    ],
)
def test_what_they_do_not_say_is_refused_by_one_line(given, line):
    with pytest.raises(reprogram.ConfigError) as error:
        call(**given)
    assert str(error.value) == line
    with pytest.raises(reprogram.ConfigError, match=r"^words=3; text is expected$"):
        call(3)


@pytest.mark.parametrize(
    "option",
    [
        {"tasks": "squares"}, {"task": "squares"}, {"rungs": [1]}, {"budgets": 1000}, {"budgets": ["a"]}, {"seeds": 3},
        {"shots": 1.5}, {"test_images": "x"}, {"battery": 3}, {"rate": "a"}, {"queries": "a"}, {"out": 3},
        {"device": 3}, {"defences": 3}, {"defences": [3]}, {"workers": "a"},
    ],
)  # fmt: skip
def test_an_audit_says_which_option_is_of_the_wrong_type(tmp_path, option):
    host = tiny_model(random_task()).host
    with pytest.raises(reprogram.ConfigError, match=rf"^{next(iter(option))}=.* is expected$"):
        reprogram.audit(host, **{"out": tmp_path / "out", **option})
    assert not list(tmp_path.iterdir())


def test_a_task_in_place_of_its_spec_is_refused():
    task = random_task()
    with pytest.raises(reprogram.ConfigError, match="a list of text is expected"):
        reprogram.audit(tiny_model(task).host, tasks=[task])
    with pytest.raises(reprogram.ConfigError, match="a int is no task"):
        reprogram.Reprogrammed.build(tiny_model(task).host, 3)
    with pytest.raises(reprogram.ConfigError, match="seed='a'; a whole number is expected"):
        reprogram.Reprogrammed.build(tiny_model(task).host, task, seed="a")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda model: reprogram.load_detector(3),
        lambda model: reprogram.detect(3, []),
        lambda model: reprogram.predict_files(model, 3),
        lambda model: reprogram.predict_files(3, "."),
        lambda model: reprogram.evaluate(model, random_task(), batch_size="a"),
        lambda model: reprogram.pull(3),
        lambda model: reprogram.push("a", 3),
        lambda model: reprogram.authorise(3),
        lambda model: reprogram.serve({"a": model}, versions=3),
        lambda model: reprogram.wilson_interval("a", 3),
    ],
)
def test_other_calls_say_so_too(wrong):
    with pytest.raises(reprogram.ConfigError, match=r"=.* is expected$"):
        wrong(tiny_model(random_task()))


def test_arrays_in_place_of_tensors_are_refused_with_what_to_do():
    images, labels = np.zeros((2, 3, 4, 4), np.uint8), np.zeros(2, np.int64)
    with pytest.raises(reprogram.DataError, match=r"^images of type ndarray; .*torch.as_tensor\(images\)$"):
        reprogram.Split(images=images, labels=torch.from_numpy(labels))
    with pytest.raises(reprogram.DataError, match=r"^labels of type ndarray"):
        reprogram.Split(images=torch.from_numpy(images), labels=labels)
