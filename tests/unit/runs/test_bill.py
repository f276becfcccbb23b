"""The bill of a run on a host that only answers, beside the host's own count, wherever it is shown."""

import json
from importlib.resources import files

import jsonschema
import pytest
import torch

from reprogram import cli
from reprogram.errors import BudgetError
from reprogram.hosts._answering import AnsweringHost
from reprogram.hosts._info import HostInfo
from reprogram.report.bill import bill_line, bill_so_far
from reprogram.runs.config import from_values
from reprogram.runs.execute import Loader, execute
from reprogram.runs.folder import RunFolder

OPTIONS = {
    "host": "linear:40",  # Its name alone: the loader gives the host that counts.
    "task": "squares(train=60, validation=20, test=20)",
    "program": "tiles(side=2)",
    "label_map": "bayesian(images=30)",
    "learner": "spsa",
    "batch_size": 8,
    "validations": 4,
    "baselines": ["map-alone", "linear-probe"],
    "device": "cpu",
}


class Service(AnsweringHost):
    """A linear classifier that counts by itself, and answers nothing whole from some request on."""

    is_local = False
    images_per_request = 6

    def __init__(self, breaks_at=10**9):
        super().__init__(torch.nn.Identity(), HostInfo(id="service", num_classes=12, size=(40, 40), access="scores"))
        self.weight = torch.randn(4800, 12, generator=torch.Generator().manual_seed(0))
        self.images, self.requests, self.breaks_at = 0, 0, breaks_at

    def ask(self, images):
        attempt = 0
        while True:
            with self.meter.request(len(images), retry=attempt > 0) as sent:
                attempt += 1
                self.requests += 1
                self.images += len(images)
                if self.requests < self.breaks_at:
                    sent.answered()
                    return images.flatten(1) @ self.weight


def run(folder, host, say=lambda _: None, **options):
    class Given(Loader):
        def host(self, config):
            return host

    return execute(from_values({**OPTIONS, "out": str(folder), **options}), loader=Given(), say=say)


def test_the_bill_is_the_hosts_count_and_is_shown(tmp_path, capsys):
    host = Service()
    result = run(tmp_path / "runs" / "a", host, queries=600, price=2.5)
    bill = result["bill"]
    assert (bill["images"], bill["requests"]) == (host.images, host.requests) and bill["lost"] == bill["retries"] == 0
    assert bill["cost"] == pytest.approx(2.5 * host.images / 1000) and result["queries"] <= 600
    schema = json.loads(files("reprogram.runs").joinpath("result.schema.json").read_text())
    jsonschema.validate(result, schema)
    assert not list((tmp_path / "runs" / "a").glob("answers*"))
    line = f"the host answered {host.images:,} images in {host.requests:,} requests"
    assert line in (tmp_path / "runs" / "a" / "report.html").read_text()
    assert cli.main(["runs", "show", "a", "--runs", str(tmp_path / "runs"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bill"] == bill


def test_baselines_ask_for_nothing_that_was_answered(tmp_path):
    """Without a program the map alone asks for the same images as learning did."""
    plain, more = Service(), Service()
    run(tmp_path / "a", plain, queries=300, baselines="none", program="none", label_map="linear")
    run(tmp_path / "b", more, queries=300, baselines=["map-alone"], program="none", label_map="linear")
    assert plain.images <= 60 + 20 + 20, "each image once; learning from known answers ends all the same"
    assert more.images == plain.images


def test_the_file_of_answers_stays_where_it_is_asked_for(tmp_path):
    first = Service()
    result = run(tmp_path / "a", first, queries=600, keep_answers=True)
    folder = RunFolder(tmp_path / "a")
    assert folder.answers.exists() and folder.answers in folder.files
    folder.result.unlink()  # As if it were killed before the result was written.
    again = Service()
    assert run(tmp_path / "a", again, queries=600)["bill"] | {"seconds": 0} == result["bill"] | {"seconds": 0}
    assert again.images == 0 and not folder.answers.exists()


def test_a_line_that_breaks_ends_learning_early_and_loses_nothing(tmp_path):
    host, lines = Service(breaks_at=70), []

    def mended(line):
        lines.append(line)
        if "measuring on the test split" in line:
            host.breaks_at = 10**9

    result = run(tmp_path / "a", host, mended, queries=600, baselines="none")
    assert "600 images at the most" in result["ended_early"] and result["bill"]["lost"] > 100
    assert any("learning ended early" in line and "best program so far" in line for line in lines)
    assert (
        host.images == result["bill"]["images"] + result["bill"]["lost"] and host.requests == result["bill"]["requests"]
    )
    assert result["validation"]["n"] > 0 and (tmp_path / "a" / "program.safetensors").exists()


def test_a_refused_budget_leaves_nothing_that_a_better_one_stumbles_over(tmp_path):
    host = Service()
    with pytest.raises(BudgetError, match="queries=20 is less"):
        run(tmp_path / "a", host, queries=20)
    assert host.requests == 0 and not list((tmp_path / "a").glob("answers*"))
    assert run(tmp_path / "a", Service(), queries=300, baselines="none")["queries"] > 200


def test_words():
    bill = {"images": 1200, "lost": 16, "requests": 90, "retries": 3, "seconds": 61.2, "price": 2.0, "cost": 2.432}
    assert bill_line(bill) == (
        "the host answered 1,200 images in 90 requests (3 of them retries, 16 images lost), 61 s of waiting; "
        "they cost 2.432 at 2 a thousand"
    )
    assert bill_so_far(bill) == "1,200 asked, 16 lost, cost 2.432"
    free = {**bill, "lost": 0, "retries": 0, "price": None, "cost": None}
    assert bill_line(free) == "the host answered 1,200 images in 90 requests, 61 s of waiting"
