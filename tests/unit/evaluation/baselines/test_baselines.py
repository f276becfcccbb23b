"""Baselines against the host itself, scikit-learn and arithmetic."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import reprogram
from helpers import narrow_vgg, random_task, tiny_model
from reprogram.evaluation.baselines.all_scores import AllScores
from reprogram.evaluation.baselines.base import BaselineInput
from reprogram.evaluation.baselines.chance import chance
from reprogram.evaluation.baselines.direct_training import DIRECT_IMAGES, direct_training
from reprogram.evaluation.baselines.linear_probe import linear_probe
from reprogram.evaluation.baselines.majority import majority
from reprogram.evaluation.baselines.map_alone import MapAlone, label_map_alone


def test_chance_and_majority():
    task = random_task(num_classes=4)
    labels = torch.tensor([0] * 5 + [2] * 20 + [3] * 15)
    object.__setattr__(task, "train", reprogram.Split(images=task.train.images, labels=labels))
    assert chance(task) == {"accuracy": 0.25}
    found = majority(task)
    assert found["class"] == "class 2"
    assert found["accuracy"] == np.mean(task.test.labels.numpy() == 2)
    assert found["n"] == len(task.test) and len(found["interval"]) == 2


def test_label_map_alone_is_the_host_on_the_bare_canvas():
    task = random_task(separable=False)
    model = tiny_model(task)
    model.program.weight.data.fill_(5.0)
    with torch.no_grad():
        scores = model.host(model.canvas(task.test.images))[:, :4]
    accuracy = float((scores.argmax(1) == task.test.labels).float().mean())
    assert label_map_alone(model, task)["accuracy"] == pytest.approx(accuracy)


def test_all_scores_are_a_discriminant_of_the_host_whatever_the_run_learned():
    """As scikit-learn's, on the host's scores of the task image over half of its input."""
    task, results = random_task(n=(80, 12, 40)), []
    for run in (tiny_model(task), tiny_model(task, label_map="random(seed=1)", canvas="resize", program="full")):
        before, given = run.learned_state(), BaselineInput(model=run, task=task, images_seen=5)
        results.append(AllScores(AllScores.Config()).measure(given))
        assert all(torch.equal(value, run.learned_state()[name]) for name, value in before.items())
        assert np.mean(given.predictions["all_scores"].numpy() == task.test.labels.numpy()) == results[-1]["accuracy"]
    assert results[0] == results[1] and results[0]["train_images"] == 80 and results[0]["n"] == 40
    canvas = tiny_model(task, canvas="scaled").canvas
    with torch.no_grad():
        train, test = (run.host(canvas(split.images)).double().numpy() for split in (task.train, task.test))
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    agree = lda.fit(train, task.train.labels.numpy()).predict(test) == given.predictions["all_scores"].numpy()
    assert np.mean(agree) > 0.9 and results[0]["accuracy"] > 0.7


def test_linear_probe_learns_a_separable_task_and_names_its_features():
    task = random_task(n=(80, 12, 40))
    result = linear_probe(tiny_model(task).host, task)
    assert result["accuracy"] > 0.7 and result["n"] == 40
    assert result["train_images"] == 80 and "head" in result["features"]
    callable_host = reprogram.Host.wrap(lambda x: x.mean((2, 3)), size=16)
    assert linear_probe(callable_host, task)["features"] == "scores"


@pytest.mark.parametrize(
    "model,last", [("resnet18", "fc"), ("squeezenet1_0", "classifier.1"), ("vgg11_bn", "classifier.6")]
)
def test_features_are_what_the_untouched_last_layer_reads(model, last):
    spec = f"torchvision:{model}(pretrained=False, size=64)"
    host = reprogram.Host.wrap(narrow_vgg(), size=64) if model == "vgg11_bn" else reprogram.load_host(spec)
    pixels = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    read = []
    layer = host.net.get_submodule(last)
    hook = layer.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    with torch.no_grad():
        host.net((pixels - host.mean) / host.std)
        hook.remove()
        found, where = host.features(pixels)
    expected = read[0].mean((2, 3)) if read[0].ndim == 4 else read[0]
    assert len(read) == 1 and where == f"input of {last}"
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_direct_training_learns_a_separable_task_and_counts_its_images():
    task = random_task(n=(80, 12, 40))
    result = direct_training(task, 160)
    assert result["accuracy"] > 0.7 and result["n"] == 40 and result["images_seen"] == DIRECT_IMAGES
    assert direct_training(task, 160) == result


@pytest.mark.parametrize("program", ["none", "views(count=2, apart=True)"])
@pytest.mark.parametrize(
    "label_map", ["linear", "linear(init='frequency', standardize=64)", "linear(init='frequency')"]
)
def test_a_learned_map_without_its_program_is_the_learned_one(label_map, program):
    """Without a program it is the run itself; views that aren't moved are the image twice."""
    task = random_task(n=(80, 12, 40))
    model = tiny_model(task, program=program, label_map=label_map)
    with torch.no_grad():
        model.label_map.matrix.normal_(generator=torch.Generator().manual_seed(3))
    if model.label_map.refit_schedule == "once":
        learned = model.label_map.matrix.detach().clone()
        model.label_map.update(model.host_scores(task.train.images), task.train.labels)
        model.label_map.fit_from_statistics()
        model.label_map.matrix.data.copy_(learned)
    with torch.no_grad():
        scores = model.host(model.canvas(task.test.images)).repeat(1, model.program.num_groups)
        right = (model.label_map(scores).argmax(1) == task.test.labels).float().mean()
    assert label_map_alone(model, task)["accuracy"] == pytest.approx(float(right))


@pytest.mark.parametrize("label_map", ["linear", "linear(standardize=64)", "linear(init='frequency')"])
@pytest.mark.parametrize("program", ["frame", "views(count=2, apart=True)"])
def test_a_map_that_was_learned_with_a_program_is_learned_anew_without_it(label_map, program):
    """A linear host can't be reprogrammed: what a program is worth there is what the map alone gets, too."""
    task = reprogram.load_task("digits")
    parts = {"label_map": label_map, "program": program, "canvas": "centre" if program == "frame" else "resize"}
    model = reprogram.Reprogrammed.build("linear:32", task, **parts)
    if program != "frame":
        model.program.weight = torch.nn.Parameter(torch.zeros(1))  # Learned with the map, as those of other views.
    fitted = reprogram.fit(model, task, epochs=4, loss="task", learner="adam")
    before = {name: value.clone() for name, value in model.learned_state().items()}
    found = MapAlone(MapAlone.Config()).measure(
        BaselineInput(model=model, task=task, images_seen=fitted.images_seen, seed=0)
    )
    alone = reprogram.Reprogrammed.build("linear:32", task, **{**parts, "program": "none"})
    reprogram.fit(alone, task, epochs=4, loss="task")
    assert found["accuracy"] == pytest.approx(reprogram.evaluate(alone, task).accuracy, abs=0.05)
    assert found["train_images"] == len(task.train) and found["accuracy"] > 0.6
    assert all(torch.equal(before[name], value) for name, value in model.learned_state().items())


def test_views_that_bring_the_labels_of_a_small_host_to_enough_have_a_map_alone():
    task = random_task(n=(80, 12, 40), num_classes=4)
    host = reprogram.load_host("linear:16?num_classes=3")
    parts = {"program": "views(count=2, apart=True)", "label_map": "discriminant"}
    model = reprogram.Reprogrammed.build(host, task, canvas="scaled", **parts)
    reprogram.fit(model, task)
    assert label_map_alone(model, task)["accuracy"] > 0.3


def test_a_probe_whose_images_are_of_one_class_says_that_class():
    task = random_task(n=(40, 12, 16))
    labels = torch.zeros_like(task.train.labels)
    object.__setattr__(task, "train", reprogram.Split(images=task.train.images, labels=labels))
    right = float((task.test.labels == 0).float().mean())
    assert linear_probe(tiny_model(task).host, task)["accuracy"] == pytest.approx(right)
