"""Several views of an image: pixels against SciPy's sampling, answers against NumPy, the bill against a count."""

import math

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from scipy.ndimage import map_coordinates
from scipy.special import logsumexp, softmax

import reprogram
from helpers import random_task, tiny_model
from helpers_components import images
from reprogram.cli import main
from reprogram.evaluation.baselines.map_alone import map_alone_scores
from reprogram.programs.views import VIEWS, View, _shown
from reprogram.registry import configure
from reprogram.report.examples import examples_of
from reprogram.runs.config import from_values
from reprogram.runs.execute import execute
from reprogram.runs.forecast import TEST, forecast
from reprogram.runs.measure import build
from reprogram.serving.answering import Answering
from reprogram.serving.options import ServeOptions
from reprogram.serving.shared_host import SharedHost
from reprogram.tasks._factory import load_task

HOST = "restricted:timm:test_resnet(pretrained=False, num_classes=16, size=48)?access=label"


def shown(image, view):
    """A view of c h w pixels: each target pixel is traced back to its source, one step after the other."""
    grey = image.mean(0, keepdims=True)
    image = grey + view.colour * (image - grey) - 0.5
    height, width = image.shape[1:]
    rows, columns = np.mgrid[:height, :width].astype(float)
    y, x = rows - (height - 1) / 2 - view.down * height, columns - (width - 1) / 2 - view.right * width
    c, s = math.cos(math.radians(view.turned)), math.sin(math.radians(view.turned))
    x, y = (c * x + s * y) / view.zoom, (c * y - s * x) / view.zoom
    x = -x if view.mirrored else x
    source = [y + (height - 1) / 2, x + (width - 1) / 2]
    # Beyond the edges the image fades to grey within a pixel, as by a border of zeros.
    moved = np.stack([map_coordinates(plane, source, order=1, mode="grid-constant") for plane in image])
    return 0.5 + view.contrast * moved


@pytest.mark.parametrize(
    "view", [*VIEWS, View(turned=90.0), View(zoom=0.7, down=0.2, right=-0.1, mirrored=True, turned=33.0)]
)
@pytest.mark.parametrize("size", [(9, 9), (8, 13)])
def test_a_view_is_the_image_traced_back_pixel_by_pixel(view, size):
    pixels = np.random.default_rng(3).random((2, 3, *size))
    found = _shown(torch.from_numpy(pixels), view).numpy()
    np.testing.assert_allclose(found, [shown(image, view) for image in pixels], atol=1e-9)


def test_views_differ_and_the_first_is_the_image_itself():
    pixels = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    found = [_shown(pixels, view) for view in VIEWS]
    assert torch.equal(found[0], pixels)
    assert all(not torch.allclose(a, b, atol=0.01) for i, a in enumerate(found) for b in found[:i])
    assert View(turned=90.0) not in VIEWS and len(set(VIEWS)) == len(VIEWS)


@pytest.mark.parametrize("canvas", ["centre", "resize"])
def test_all_first_views_come_first_and_are_valid_pixels(canvas):
    model = tiny_model(program="views(count=13)", canvas=canvas, size=12)
    framed = model.canvas(images()[:5])
    found = model.program(framed)
    assert found.geometry == framed.geometry and torch.equal(found.frame, framed.frame) and len(found) == 65
    assert torch.equal(found.window[:5], framed.window)
    torch.testing.assert_close(found.window[10:15], framed.window.flip(3))
    assert found.window.min() == 0 and found.window.max() == 1  # A doubled colour is cut.


def test_the_answer_to_an_image_is_the_mean_of_the_probabilities_of_its_views():
    model = tiny_model(program="views(count=3)", label_map="bayesian", canvas="resize")
    batch = images()[:7]
    with torch.no_grad():
        rows = model.host(model.program(model.canvas(batch))).numpy().reshape(3, 7, -1)
        found = model.host_scores(batch)
    np.testing.assert_allclose(softmax(found.numpy(), axis=1), softmax(rows, axis=2).mean(0), atol=1e-6)
    np.testing.assert_allclose(logsumexp(found, axis=1), logsumexp(rows, axis=2).mean(0), atol=1e-5)
    torch.testing.assert_close(model(batch), model.label_map(found))
    assert model.host_scores(batch[:0]).shape == (0, model.host.info.num_classes)
    one = tiny_model(program="views(count=1)", canvas="resize")
    plain = tiny_model(program="none", canvas="resize")
    torch.testing.assert_close(one.host_scores(batch), plain.host_scores(batch), rtol=0, atol=0)


@pytest.mark.parametrize("label_map", ["evidence-bayes", "discriminant", "label-bayes", "shown-bayes(labels=6)"])
def test_views_apart_have_columns_of_their_own(label_map, tmp_path):
    """The map reads V · K scores; what is saved and shown knows them, and the map alone reads K."""
    task = random_task()
    model = tiny_model(task, program="views(count=3, apart=True)", label_map=label_map, canvas="resize")
    batch, labels = images()[:7], model.host.info.num_classes
    with torch.no_grad():
        rows = model.host(model.program(model.canvas(batch))).reshape(3, 7, labels)
        assert torch.equal(model.host_scores(batch), torch.cat(list(rows), dim=1))
    assert model.label_map.num_host_labels == 3 * labels and model.host_scores(batch[:0]).shape == (0, 3 * labels)
    assert model.host.info.column(labels + 1, apart=True) == model.host.info.label(1) + " (view 2)"
    reprogram.fit(model, task, loss="task", images=16)
    again = reprogram.load(model.save(tmp_path / "views.safetensors"), host=model.host)
    torch.testing.assert_close(again(batch), model(batch), rtol=0, atol=0)
    assert map_alone_scores(model, task).shape == (16, 4)
    assert len(examples_of(model, task, model(task.test.images).detach())["examples"]) == 12


def test_labels_of_views_apart_are_read_by_naive_bayes_on_each_view():
    task = load_task("squares(train=160, validation=40, test=60)")
    model = reprogram.Reprogrammed.build(
        HOST, task, canvas="resize", program="views(count=3, apart=True)", label_map="evidence-bayes(smoothing=0.5)"
    )
    batch, labels = task.train.images[:40], task.train.labels[:40].numpy()
    with torch.no_grad():
        tops = model.host(model.program(model.canvas(batch))).argmax(1).numpy().reshape(3, 40)
        scores = model.host_scores(batch).double()
    model.label_map.update(scores, torch.from_numpy(labels))
    model.label_map.fit_from_statistics()
    counts = np.zeros((10, 3, 16))
    for view, top in enumerate(tops):
        np.add.at(counts[:, view], (labels, top), 1 / 3)
    logs = np.log((counts + 0.5) / (counts.sum((1, 2), keepdims=True) + 0.5 * 48))
    expected = sum(logs[:, view, top].T / 3 for view, top in enumerate(tops))
    expected = expected + np.log((counts.sum((1, 2)) + 1) / (counts.sum() + 10))
    found = model.label_map(scores)
    np.testing.assert_allclose(softmax(found, axis=1), softmax(expected, axis=1), rtol=1e-4, atol=1e-6)


def test_labels_alone_become_the_shares_of_the_views_that_show_them():
    """Naive Bayes on shares: what the label map counts is counted here from the host's own labels."""
    model = reprogram.Reprogrammed.build(
        HOST, "squares(train=160, validation=40, test=60)", canvas="resize", program="views(count=5)",
        label_map="evidence-bayes(smoothing=0.3)",
    )  # fmt: skip
    task = load_task("squares(train=160, validation=40, test=60)")
    batch, labels = task.train.images[:40], task.train.labels[:40]
    with torch.no_grad():
        tops = model.host(model.program(model.canvas(batch))).argmax(1).numpy().reshape(5, 40)
        scores = model.host_scores(batch)
    shares = np.stack([(tops == j).mean(0) for j in range(16)], axis=1)
    np.testing.assert_allclose(model.label_map.shares(scores.double()), shares, atol=1e-6)
    model.label_map.update(scores.double(), labels)
    model.label_map.fit_from_statistics()
    counts = np.zeros((10, 16))
    np.add.at(counts, labels.numpy(), shares)
    logs = np.log((counts + 0.3) / (counts.sum(1, keepdims=True) + 0.3 * 16))
    expected = shares @ logs.T + np.log((counts.sum(1) + 1) / (counts.sum() + 10))
    np.testing.assert_allclose(
        softmax(model.label_map(scores.double()), axis=1), softmax(expected, axis=1), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("count", [0, 17])
def test_a_wrong_number_of_views_is_refused(count, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        configure("programs", f"views(count={count})")
    one_line(error, f"count={count}", "1 to 16")


@pytest.mark.parametrize("queries", [333])
def test_every_view_is_paid_for_and_the_budget_holds(tmp_path, queries):
    values = {
        "host": HOST, "task": "squares(train=160, validation=40, test=30)", "canvas": "resize",
        "program": "views(count=4)", "label_map": "evidence-bayes", "queries": queries, "device": "cpu",
        "baselines": ("map-alone",), "out": str(tmp_path / "run"),
    }  # fmt: skip
    config = from_values(values)
    task = load_task(config.task)
    model = build(config, reprogram.load_host(config.host), task)
    assert forecast(config, model, task, processes=0).parts[TEST].images == 4 * 30
    result = execute(config)
    asked = result["queries"]
    assert 0.7 * queries <= asked <= queries < result["bill"]["images"]
    assert {"program_worth", "net_gain"} <= set(result)


def test_a_saved_program_gives_the_same_answers(tmp_path):
    task = random_task()
    model = tiny_model(task, program="views(count=3)", label_map="evidence-bayes", canvas="resize")
    reprogram.fit(model, task, learner="none", loss="task", images=16)
    path = model.save(tmp_path / "views.safetensors")
    again = reprogram.load(path, host=model.host)
    torch.testing.assert_close(again(images()), model(images()), rtol=0, atol=0)
    shared, single = SharedHost([again, tiny_model(task, program="none", canvas="resize")])([images(), images()[:3]])
    torch.testing.assert_close(shared, model(images()), rtol=1e-4, atol=1e-5)
    assert single.shape[0] == 3


@pytest.mark.parametrize("apart", [False, True])
def test_every_way_to_an_answer_tells_the_models_and_the_hosts_own(apart, tmp_path, capsys):
    """Predict, serve and an exported file, whose host's answer is the mean of the views' whatever the map reads."""
    task = random_task()
    spec = f"views(count=3, apart={apart})"
    model = tiny_model(task, program=spec, label_map="evidence-bayes", canvas="resize")
    reprogram.fit(model, task, learner="none", loss="task", images=16)
    batch = task.test.images[:5]
    with torch.no_grad():
        wanted = model(batch)
        rows = model.host(model.program(model.canvas(batch))).double().numpy().reshape(3, 5, -1)
    mean = softmax(rows, axis=2).mean(axis=0)
    done = reprogram.export(model, tmp_path / "views.onnx", task=task, host_top=2, max_batch=4)
    session = onnxruntime.InferenceSession(done.path)
    scores, labels, probabilities = session.run(None, {"images": batch.numpy()})
    np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(probabilities, np.sort(mean)[:, :-3:-1], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(mean, labels, 1), probabilities, atol=1e-5)

    answering = Answering({"views": model}, {"views": "1"}, ServeOptions())
    served, of_host = answering.compute({"views": batch})["views"]
    np.testing.assert_allclose(served, wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_host.softmax(dim=1), mean, atol=1e-5)

    Image.fromarray(batch[0].permute(1, 2, 0).numpy()).save(tmp_path / "image.png")
    (answer,) = reprogram.predict_files(model, tmp_path / "image.png")
    assert answer.label == model.task.classes[int(wanted[0].argmax())]
    assert [top["label"] for top in answer.host] == [model.host.info.label(i) for i in mean[0].argsort()[:-4:-1]]

    assert main(["inspect", str(model.save(tmp_path / "views.safetensors"))]) == 0
    assert ("(view 3)" in capsys.readouterr().out) == apart
