"""Programs handed on through a Hub, by its real client; what a stranger's repository holds beside or instead."""

import json
import os
import pickle
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image

import reprogram
from helpers import random_task
from helpers_hub import FakeHub
from helpers_runs import cli
from reprogram.programfile.card import folder_of
from reprogram.programfile.file import read
from reprogram.programfile.hub import Repo

HOST = "linear(size=16, num_classes=12)"
SENT = {"README.md", "config.json", "label_map.png", "program.png", "program.safetensors"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    code, _, err = cli("fit", "--host", HOST, "--task", "digits", "--epochs", "1", "--baselines", "map-alone",
                       "--test-images", "60", "--out", folder, "--quiet")  # fmt: skip
    assert code == 0, err
    return folder


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty Hub, and an empty cache."""
    import huggingface_hub.constants

    fake = FakeHub()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with fake.serving() as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield fake


def test_what_is_pushed_is_pulled_again(run, hub, tmp_path):
    code, out, err = cli("push", run, "me/digits", "--licence", "apache-2.0", "--json")
    assert code == 0, err
    assert json.loads(out)["url"].endswith(hub.repos["me/digits"]["branches"]["main"])
    assert os.environ["HF_ENDPOINT"] in err and all(name in err for name in SENT)
    _, files = hub.find("me/digits", "main")
    assert set(files) - {".gitattributes"} == SENT and hub.repos["me/digits"]["private"]
    program = (run / "program.safetensors").read_bytes()
    assert files["program.safetensors"] == program
    code, out, err = cli("pull", "me/digits", "--out", tmp_path / "p.safetensors", "--json")
    assert code == 0, err
    assert (tmp_path / "p.safetensors").read_bytes() == program
    assert json.loads(out)["digest"] == read(run / "program.safetensors").header.digest
    code, out, err = cli("push", run / "program.safetensors", "me/digits@second", "--quiet")
    assert code == 0 and "second" in hub.repos["me/digits"]["branches"] and err == ""


def test_a_spec_of_the_hub_is_a_program_file_everywhere(run, hub, tmp_path):
    cli("push", run, "me/digits", "--quiet")
    picture = tmp_path / "a.png"
    Image.new("L", (8, 8), 90).save(picture)
    code, _, err = cli("inspect", "hub:me/digits")
    assert code == 4 and "--download" in err and len([r for r in hub.requests if "resolve" in r]) == 0
    wanted = json.loads(cli("predict", run / "program.safetensors", picture, "--json")[1])
    code, out, err = cli("predict", "hub:me/digits", picture, "--json", "--download")
    assert code == 0 and json.loads(out) == wanted, err
    before = len(hub.requests)
    for command in (["inspect", "hub:me/digits"], ["predict", "hub:me/digits", picture]):  # From the cache.
        assert cli(*command)[0] == 0 and len(hub.requests) == before
    commit = hub.repos["me/digits"]["branches"]["main"]
    assert reprogram.load(f"hub:me/digits@{commit}", download=True).task.name == "digits"


def test_another_revision_is_another_program(run, hub, tmp_path):
    other = reprogram.Reprogrammed.build(HOST, random_task(), seed=1).save(tmp_path / "other.safetensors")
    first = hub.commit("you/p", {"program.safetensors": (run / "program.safetensors").read_bytes()})
    hub.commit("you/p", {"program.safetensors": other.read_bytes()})
    names = {rev: reprogram.load(f"hub:you/p@{rev}", download=True).task.name for rev in ("main", first)}
    assert names == {"main": "random", first: "digits"}
    hub.commit("you/p", {"program.safetensors": (run / "program.safetensors").read_bytes()})
    assert reprogram.load("hub:you/p", download=True).task.name == "digits"
    code, _, err = cli("pull", "you/p@never", "--out", tmp_path / "x")
    assert code == 4 and "no such revision" in err and not (tmp_path / "x").exists()


class Evil:
    """Writes a file where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def test_a_strangers_repository_with_traps(run, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = (run / "program.safetensors").read_bytes()
    evil = pickle.dumps(Evil())
    traps = {"pytorch_model.bin": evil, "config.json": b'{"auto_map": "x"}', "modeling.py": b"import os", "x.pkl": evil}
    hub.commit("bad/beside", {**traps, "program.safetensors": good})
    assert cli("pull", "bad/beside", "--out", "ok.safetensors")[0] == 0
    assert not any(name in request for request in hub.requests for name in traps)
    altered = bytearray(good)
    altered[-5] ^= 1
    contents = {"pickle": evil, "digest": bytes(altered), "short": good[:-9], "long": good + b"x", "empty": b""}
    contents["text"] = b"../../../../etc/passwd"  # What a link looks like in a checkout without links.
    for name, raw in contents.items():
        hub.commit(f"bad/{name}", {"program.safetensors": raw})
        code, out, err = cli("pull", f"bad/{name}", "--out", f"{name}.safetensors")
        assert code == 4 and out == "" and err.count("\n") == 1, (name, err)
        assert cli("predict", f"hub:bad/{name}", "x.png", "--download")[0] == 4
    hub.commit("bad/none", {"model.safetensors": good})
    code, _, err = cli("pull", "bad/none")
    assert code == 4 and "holds no program.safetensors" in err
    code, _, err = cli("pull", "bad/absent")
    assert code == 4 and "no such repository" in err
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == ["ok.safetensors"]


@pytest.mark.parametrize("lie", [{"sizes": 2**40}, {"etags": "../../../escape"}])
def test_a_hub_that_lies_is_refused_before_anything_is_fetched(run, hub, tmp_path, lie):
    hub.commit("bad/lie", {"program.safetensors": (run / "program.safetensors").read_bytes()})
    for name, value in lie.items():
        getattr(hub, name)["program.safetensors"] = value
    code, _, err = cli("pull", "bad/lie", "--out", tmp_path / "x.safetensors")
    assert code == 4 and err.count("\n") == 1 and not (tmp_path / "x.safetensors").exists()
    assert not [r for r in hub.requests if r.startswith("GET")] and not list(tmp_path.glob("escape*"))


def test_a_link_in_the_cache_that_leads_elsewhere_is_refused(run, hub, tmp_path):
    cli("push", run, "me/digits", "--quiet")
    cli("pull", "me/digits", "--out", tmp_path / "p.safetensors")
    link = next((tmp_path / "cache").rglob("snapshots/*/program.safetensors"))
    link.unlink()
    link.symlink_to(run / "program.safetensors")
    code, _, err = cli("inspect", "hub:me/digits")
    assert code == 4 and "leads out" in err


@pytest.mark.parametrize(
    "name",
    ["x", "../x", "a/../b", "a/b/c", "/a/b", "a/b@", "a/b@../x", "a/b@-x", "a b/c", "a/.b", "http://a/b", "a/b\nc"],
)
def test_names_that_are_no_repository(name, hub):
    with pytest.raises(reprogram.ConfigError, match="OWNER/NAME"):
        Repo.parse(name)
    assert cli("pull", name)[0] == 3 and hub.requests == []


def test_nothing_is_sent_elsewhere_without_a_word(run, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    code, out, err = cli("push", run, "me/digits")
    assert code == 3 and "--i-am-authorised hub.example" in err and out == ""
    code, out, err = cli("push", run, "me/digits", "--dry-run")
    assert code == 0 and "would send" in err and "hub.example" in err
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example")
    code, out, err = cli("push", run, "me/digits", "--i-am-authorised", "hub.example")
    assert code == 3 and "in the clear" in err


def test_a_hub_that_can_not_be_reached_is_one_line(run, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for command, expected in {("push", run, "me/d"): 3, ("pull", "me/d"): 4}.items():
        code, _, err = cli(*command)
        assert code == expected and "Traceback" not in err and "127.0.0.1:9" in err


def test_the_card_tells_the_result(run, tmp_path):
    code, _, err = cli("card", run, "--out", tmp_path / "card", "--repo", "me/digits", "--licence", "mit")
    assert (code, err) == (0, "") and {p.name for p in (tmp_path / "card").iterdir()} == SENT
    text = (tmp_path / "card" / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    result = json.loads((run / "result.json").read_text())
    assert front["library_name"] == "reprogram" and front["license"] == "mit"
    assert front["model-index"][0]["results"][0]["metrics"][0]["value"] == result["test"]["accuracy"]
    low, high = result["test"]["interval"]
    accuracy, worth = f"{result['test']['accuracy']:.4f}", f"{result['program_worth']['difference']:+.4f}"
    parts = f"{accuracy} | {low:.4f} to {high:.4f} | 60", "baseline map-alone", "hub:me/digits", worth
    for part in (*parts, "random weights: none", "## Limits"):
        assert part in text
    with Image.open(tmp_path / "card" / "program.png") as picture:
        assert np.asarray(picture).shape == (16, 16, 3)
    config = json.loads((tmp_path / "card" / "config.json").read_text())
    assert config["program"]["digest"] == read(run / "program.safetensors").header.digest
    assert cli("card", run, "--out", tmp_path / "card")[0] == 0  # Its own card is written anew.
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    assert cli("card", run, "--out", tmp_path / "mine")[0] == 3
    assert (tmp_path / "mine" / "README.md").read_text() == "mine"


def test_a_result_of_another_run_is_not_told(run, tmp_path):
    shutil.copy(run / "program.safetensors", tmp_path)
    result = json.loads((run / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps(result | {"seed": 9}))
    text = folder_of(tmp_path / "program.safetensors")["README.md"].decode()
    assert "as the program file states it" in text and "map-alone" not in text


def test_a_card_replaces_nobody_elses_files(run, tmp_path):
    """Of a run's folder the program, of any other folder the files that lie there without a card."""
    other = tmp_path / "other"
    options = ("--host", "linear:32", "--task", "digits", "--images", 16, "--program", "full", "--canvas", "resize")
    assert cli("fit", *options, "--baselines", "none", "--quiet", "--out", other)[0] == 0
    before = {path: path.read_bytes() for path in other.iterdir() if path.is_file()}
    code, _, err = cli("card", run, "--out", other)
    assert code == 3 and "is the folder of a run" in err and err.count("\n") == 1
    assert {path: path.read_bytes() for path in other.iterdir() if path.is_file()} == before
    assert cli("card", other, "--out", other)[0] == 0  # Its own program stays what it is.
    assert cli("card", run, "--out", other)[0] == 3  # Also now that there is a card.
    assert (other / "program.safetensors").read_bytes() == before[other / "program.safetensors"]
    for name in ("config.json", "program.safetensors"):
        folder = tmp_path / f"with-{name}"
        folder.mkdir()
        (folder / name).write_text("mine")
        code, _, err = cli("card", run, "--out", folder)
        assert code == 3 and name in err and [path.name for path in folder.iterdir()] == [name]


def test_names_of_strangers_mean_nothing_in_the_card(tmp_path):
    task = random_task()
    names = ("a|b", "<script>x</script>", "[x](http://e)", '"\n---\nlicense: mit\n# head')
    object.__setattr__(task, "class_names", names)
    path = reprogram.Reprogrammed.build(HOST, task).save(tmp_path / "p.safetensors")
    text = folder_of(path)["README.md"].decode()
    front = yaml.safe_load(text.split("---")[1])
    assert "license" not in front and text.count("\n# ") == 1 and "<script>" not in text and "[x](" not in text


def test_base_models_of_hosts_from_the_hub():
    from reprogram.programfile.card import base_model, licence_of_host

    assert base_model("timm:resnet18.a1_in1k") == "timm/resnet18.a1_in1k"
    assert base_model("linear:32") == base_model("timm:resnet18?pretrained=0") == base_model("no such") == ""
    assert licence_of_host("efficientnet-lite0") == "Apache-2.0" and licence_of_host("no such") == "not stated"
