"""Parts of one's own that break their contract are refused in one line; those that keep it are measured as they are."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import reprogram
from helpers import random_task, tiny_model
from reprogram.errors import ConfigError, ProgramFileError
from reprogram.evaluation.predict import predict
from reprogram.evaluation.reading import read_answers
from reprogram.labelmaps.base import LabelMap
from reprogram.learners.base import Learner
from reprogram.losses.base import Loss
from reprogram.programs.base import DenseProgram
from reprogram.training.losses import losses_of
from reprogram.utils.contracts import Writes


class Dropping(LabelMap):
    """A learned map with dropout and batch norm, which answer otherwise while they learn."""

    def __init__(self, config, *, num_host_labels, num_task_labels):
        super().__init__(config, num_host_labels=num_host_labels, num_task_labels=num_task_labels)
        norm, last = nn.BatchNorm1d(num_host_labels), nn.Linear(num_host_labels, num_task_labels)
        self.net = nn.Sequential(norm, nn.Dropout(0.7), last)

    def run(self, scores):
        return self.net(scores)

    def assignment(self):
        return [[i] for i in range(self.num_task_labels)]


class Masking(LabelMap):
    """Writes into the host's scores."""

    def run(self, scores):
        scores[:, self.num_task_labels :] = float("-inf")
        return scores[:, : self.num_task_labels]


class Fewer(LabelMap):
    """Forgets a class."""

    def run(self, scores):
        return scores[:, 1 : self.num_task_labels]


class Centred(LabelMap):
    """Reads all scores, and says that it reads those of the first labels."""

    def run(self, scores):
        return (scores - scores.mean(dim=1, keepdim=True))[:, : self.num_task_labels]

    def reads(self):
        return torch.arange(self.num_task_labels)


class Weighing(LabelMap):
    """Reads all scores, and says that it reads the top label alone."""

    reads_top_label = True

    def run(self, scores):
        return scores @ torch.ones(self.num_host_labels, self.num_task_labels).tril()


class Painting(DenseProgram):
    """Draws in place."""

    def run(self, framed):
        framed.frame.add_(torch.tanh(self.weight))
        return framed


class Moving(DenseProgram):
    """Says that it is confined, and isn't."""

    confined = True

    def run(self, framed):
        return replace(framed, window=framed.window * 1.0)


class Matrix(Loss):
    """The squeeze that is forgotten most often: b x b numbers."""

    def losses(self, answered):
        chosen = answered.task.log_softmax(dim=1).gather(1, answered.labels[:, None])
        return chosen * torch.ones(len(answered.labels))


class Returning(Learner):
    """Improves nothing and returns what it is told."""

    def __init__(self, value):
        super().__init__(self.Config())
        self.value = value

    def start(self, program_parameters, *others):
        pass

    def step(self, objective, progress):
        return self.value

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def with_map(label_map):
    model = tiny_model(random_task())
    sizes = {"num_host_labels": model.host.info.num_classes, "num_task_labels": len(model.task.classes)}
    model.label_map = label_map(LabelMap.Config(), **sizes)
    return model


def with_program(program):
    model = tiny_model(random_task())
    model.program = program(DenseProgram.Config(), geometry=model.program.geometry)
    return model


def test_a_label_map_answers_in_evaluation_mode_while_it_learns_and_afterwards():
    task, model = random_task(), with_map(Dropping)
    result = reprogram.fit(model, task, images=160, validation_images="all", learner="adam(learning_rate=0.05)")
    assert not any(part.training for part in model.label_map.modules())
    again = reprogram.evaluate(model, task.validation)
    assert (again.correct, again.n) == (result.validation.correct, result.validation.n)
    assert again.loss == pytest.approx(result.validation.loss, rel=1e-5)


def test_an_evaluation_leaves_modes_and_statistics_as_they_were():
    task, model = random_task(), with_map(Dropping)
    model.label_map.net[1].eval()
    before = {name: value.clone() for name, value in model.label_map.state_dict().items()}
    modes = [part.training for part in model.label_map.modules()]
    scores, answers = predict(model, task.test), read_answers(model, task.test, batch_size=3)
    # Batch norm at its start statistics (mean 0, variance 1), no dropout, the last layer.
    with torch.no_grad():
        host = model.host_scores(task.test.images) / math.sqrt(1 + 1e-5)
        expected = F.linear(host, model.label_map.net[2].weight, model.label_map.net[2].bias)
    assert torch.allclose(scores, expected, atol=1e-5) and torch.allclose(answers.scores, expected, atol=1e-5)
    assert modes == [part.training for part in model.label_map.modules()] and True in modes and False in modes
    assert all(torch.equal(before[name], value) for name, value in model.label_map.state_dict().items())


@pytest.mark.parametrize(
    "model,text",
    [
        (lambda: with_map(Masking), "changes the host's scores in place"),
        (lambda: with_map(Fewer), "scores of shape (2, 3)"),
        (lambda: with_program(Painting), "draws on the canvas in place"),
        (lambda: with_program(Moving), "the very window that it was given"),
    ],
)
@pytest.mark.parametrize("grad", [False, True])
def test_what_breaks_a_contract_is_refused_at_its_first_call(model, text, grad, one_line):
    with pytest.raises(ConfigError) as error, torch.set_grad_enabled(grad):
        model()(random_task().test.images[:2])
    one_line(error, text, __file__, "mend this file")


@pytest.mark.parametrize("label_map,text", [(Centred, "labels in `reads`"), (Weighing, "says `reads_top_label`")])
def test_what_a_label_map_says_that_it_reads_isnt_believed(label_map, text, one_line):
    model = with_map(label_map)
    with pytest.raises(ConfigError) as error:
        read_answers(model, random_task().test)
    one_line(error, text, __file__)


def test_writes_are_noticed_through_views_too():
    tensor = torch.zeros(3, 4)
    written = Writes(tensor, torch.ones(2))
    assert not written
    tensor[1].add_(1)
    assert written and not Writes(tensor)
    with torch.inference_mode():
        assert not Writes(torch.zeros(1))


def test_a_loss_gives_a_number_for_each_image(monkeypatch, one_line):
    task, model = random_task(), tiny_model(random_task())
    monkeypatch.setattr("reprogram.training.losses.loss_named", lambda spec: Matrix(Matrix.Config()))
    with pytest.raises(ConfigError) as error:
        losses_of(model, task.train.images[:5], task.train.labels[:5], "task")
    one_line(error, "Matrix", "(5, 5)", "5 images")


@pytest.mark.parametrize(
    "value,shown", [(float("nan"), "nan"), (None, "NoneType"), (torch.tensor(1.0), "Tensor"), (float("inf"), "inf")]
)
def test_a_learner_returns_a_finite_number(value, shown, one_line):
    with pytest.raises(ConfigError) as error:
        reprogram.fit(tiny_model(random_task()), random_task(), learner=Returning(value), images=20)
    one_line(error, "Returning", shown, "finite float")


def test_what_no_spec_stands_for_is_neither_saved_nor_taken_for_another(tmp_path, one_line):
    model = with_program(Moving)
    with pytest.raises(ProgramFileError) as refused:
        model.save(tmp_path / "own.safetensors")
    one_line(refused, "own.safetensors", "Moving", "list it")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError) as error:
        reprogram.fit(tiny_model(random_task()), random_task(), loss=Matrix(Matrix.Config()), images=20)
    one_line(error, "Matrix", "can't be found by a spec")


def test_a_class_of_the_same_name_as_a_listed_one_is_another(tmp_path, one_line):
    model = tiny_model(random_task())
    own = type("Frame", (type(model.program),), {"__module__": "elsewhere.frame"})
    model.program.__class__ = own
    with pytest.raises(ProgramFileError) as error:
        model.save(tmp_path / "own.safetensors")
    one_line(error, "elsewhere.frame.Frame", "'frame' is another one")
