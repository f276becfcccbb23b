"""What is handed on names no folder of the machine that it comes from, in whatever spelling it was given."""

import json
import shlex
from pathlib import Path

import pytest

from reprogram.programfile.without_folders import (
    command_without_folders,
    options_without_folders,
    result_without_folders,
    spec_without_folders,
)

HOST_ID = "checkpoint:w.safetensors?architecture=timm:resnet18"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("folder:/home/alice/acme?size=32", "folder:acme?size=32"),
        ("folder:alice/acme/images?size=32&mode=grey", "folder:images?size=32&mode=grey"),
        ("folder:../alice/images", "folder:images"),
        ("folder:~/alice/images/", "folder:images"),
        ("folder(path='/home/alice/acme', size=32)", "folder(path='acme', size=32)"),
        ("folder:/home/alice/acme(size=32)", "folder:acme?size=32"),
        ("folder?path=%2Fhome%2Falice%2Facme&size=32", "folder?path=acme&size=32"),
        ("arrays?path=/home/alice/48", "arrays?path=%2748%27"),
        ("first-classes:(folder:/home/alice/acme?size=8)?classes=3", "first-classes:(folder:acme?size=8)?classes=3"),
        ("first-classes(task='folder:/home/alice/acme', classes=3)", "first-classes(task='folder:acme', classes=3)"),
        (
            "checkpoint:/home/alice/w.safetensors?architecture=timm:resnet18&mean=0.5,",
            "checkpoint:w.safetensors?architecture=timm:resnet18&mean=(0.5,)",
        ),
        ("python:/home/alice/acme/host.py:make", "python:host.py:make"),
        ("concealed(photo='/home/alice/me.jpg', eps=0.1)", "concealed(photo='me.jpg', eps=0.1)"),
        ("/home/alice/p.safetensors", "p.safetensors"),
        ("alice/p.safetensors", "p.safetensors"),
        ("alice:x/y (1)/p.safetensors", "p.safetensors"),
        (r"folder:C:\Users\alice\images", "folder:images"),
        ("frame(init=0.1)", "frame(init=0.1)"),
        ("timm:resnet18?pretrained=0", "timm:resnet18?pretrained=0"),
        ("hub:owner/name@main", "hub:owner/name@main"),
    ],
)
def test_a_spec_keeps_the_last_part_of_each_path(text, told):
    assert spec_without_folders(text) == told


def test_the_home_folder_is_not_called_by_its_owners_name(monkeypatch, tmp_path):
    (tmp_path / "alice").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "alice"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "alice"))
    assert Path("~").expanduser().name == "alice"
    assert [spec_without_folders(text) for text in ("~/", str(tmp_path / "alice"))] == ["~", "~"]
    assert "alice" not in spec_without_folders("folder:~/")


def test_a_command_names_neither_places_nor_folders():
    words = ["reprogram", "fit", "--task", "folder:/home/alice/acme merger?size=8", "--out", "/home/alice/acme merger"]
    words += [
        "--data=/home/alice/it's",
        "--runs",
        "alice/runs",
        "--track",
        "tensorboard(folder='/home/alice')",
        "wandb",
    ]
    words += ["--seed", "3", "--warm-start", "/home/alice/x y/p.safetensors", "--config=alice/a.toml", "--quiet"]
    words += ["--host", "checkpoint:/home/alice/w.safetensors?architecture=timm:resnet18"]
    wanted = [
        "reprogram",
        "fit",
        "--task",
        "folder:acme merger?size=8",
        "--seed",
        "3",
        "--warm-start",
        "p.safetensors",
    ]
    wanted += ["--config=a.toml", "--quiet", "--host", HOST_ID]
    told = shlex.split(command_without_folders(shlex.join(words), host=HOST_ID))
    assert told == wanted
    assert "alice" not in command_without_folders(shlex.join(words))


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("reprogram fit --task squares --seed 3", "reprogram fit --task squares --seed 3"),
        ("reprogram fit --config /home/alice/acme merger/run/config.toml --threads 2",
         "reprogram fit --config config.toml --threads 2"),
        ("reprogram -f /home/alice/kernel-1.json", "reprogram -f kernel-1.json"),
        ("reprogram --f=/home/alice/kernel-1.json", "reprogram --f=kernel-1.json"),
        ("reprogram -I/home/alice/lib", "reprogram lib"),
        ("python3 /home/alice/learn.py data=/home/alice/acme", "python3 learn.py acme"),
        ("reprogram fit --out", "reprogram fit"),
        ("reprogram fit --host", "reprogram fit --host"),
        ("reprogram fit --task '/home/alice", ""),
        ("reprogram fit --task first-classes(task='folder:/home/alice/acme',classes=3)", ""),
        ("reprogram fit --task=first-classes(task=folder:/home/alice/acme,classes=3)", ""),
        ("reprogram fit --label-map 'text(file=/home/alice/emb.txt)' --seed 3", ""),
        ("reprogram fit --baselines map-alone 'surrogate(host=\"text(file=/home/alice/a)\")'", ""),
        ("reprogram fit --label-map \"text(file='/home/alice/emb.txt')\"",
         "reprogram fit --label-map 'text(file='\"'\"'emb.txt'\"'\"')'"),
        ("reprogram fit --host python(path=/home/alice/acme) --seed 3",
         "reprogram fit --host vit-as-its-source-says --seed 3"),
        ("reprogram fit --warm-start hub:me/digits", "reprogram fit --warm-start hub:me/digits"),
        ("reprogram fit --host=hf:alice/vit", "reprogram fit --host=vit-as-its-source-says"),
    ],
)  # fmt: skip
def test_other_commands(command, told):
    assert command_without_folders(command, host="vit-as-its-source-says") == told


def test_a_host_that_is_no_spec_leaves_no_command():
    assert command_without_folders("reprogram fit --host python(path=/home/alice/acme) --seed 3") == ""


def test_options_and_results():
    options = {"out": "/home/alice/run", "data": "/home/alice", "track": ["mlflow"], "seed": 3, "shots": None}
    options |= {"host": "checkpoint:/home/alice/w.safetensors", "task": "folder:/home/alice/acme"}
    options |= {"warm_start": "/home/alice/p.safetensors", "baselines": ["map-alone", "x/alice/y"]}
    wanted = {"seed": 3, "shots": None, "host": HOST_ID, "task": "folder:acme", "warm_start": "p.safetensors"}
    assert options_without_folders(options, host=HOST_ID) == {**wanted, "baselines": ["map-alone", "y"]}
    result = {"host": HOST_ID, "command": "reprogram fit --out /home/alice/run --seed 1", "test": {"accuracy": 0.5}}
    before = json.dumps(result)
    assert result_without_folders(result) == {**result, "command": "reprogram fit --seed 1"}
    assert json.dumps(result) == before and result_without_folders({"test": {}}) == {"test": {}}
