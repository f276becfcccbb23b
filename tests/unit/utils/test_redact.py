"""What others are told of a command holds no folder of this machine."""

import pytest

from reprogram.utils.redact import public_command, without_folders


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("checkpoint:/home/alice/w.safetensors?architecture=timm:x(kwargs={'a': 1})",
         "checkpoint:w.safetensors?architecture=timm:x(kwargs={'a': 1})"),
        ("folder:/home/alice/acme?size=32", "folder:acme?size=32"),
        ("defended(host='checkpoint:../acme/w.pt', by='blur')", "defended(host='checkpoint:w.pt', by='blur')"),
        (r"folder:C:\Users\alice\acme", "folder:acme"), ("/home/alice/acme/", "acme/"),
        ("timm:resnet18(pretrained=False)", "timm:resnet18(pretrained=False)"), ("0.5", "0.5"),
        ("hf:google/vit", "hf:google/vit"), ("hub:me/digits", "hub:me/digits"), ("~alice/acme/x.pt", "x.pt"),
        ("kserve:https://models.example/v1", "kserve:https://models.example/v1"),
    ],
)  # fmt: skip
def test_of_a_path_the_last_part_is_left(text, told):
    assert without_folders(text) == told


def test_a_command_is_told_without_where_its_files_lie():
    task, out = "'folder:/home/al ice/my data?size=8'", "'/home/alice/acme merger'"
    command = f"reprogram fit --task {task} --out {out} --data=/d/x --seed 3"
    assert public_command(command) == "reprogram fit --task 'folder:my data?size=8' --seed 3"
    assert public_command("reprogram fit 'unfinished") == ""
