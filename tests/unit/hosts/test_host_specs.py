"""Specs of hosts: what a name without its library could mean, and what a checkpoint's spec holds."""

import pytest
import timm
import torch
from safetensors.torch import save_file

import reprogram
from helpers import seeded
from reprogram.hosts.checkpoint import Checkpoint
from reprogram.registry import configure


@pytest.mark.parametrize(
    "spec,meant",
    [
        ("resnet50", ["'timm:resnet50'", "'torchvision:resnet50'"]),
        ("resnet50.a1_in1k", ["'timm:resnet50.a1_in1k'"]),
        ("resnet50?pretrained=0", ["'timm:resnet50?pretrained=0'"]),
        ("vit_base_patch16_224", ["'timm:vit_base_patch16_224'"]),
        ("squeezenet1_1", ["'torchvision:squeezenet1_1'"]),
        ("timn:resnet50", ["'timm'"]),
        ("nothing_like_it", ["known:"]),
    ],
)
def test_a_model_without_its_library_is_recognised(spec, meant, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.load_host(spec)
    one_line(error, *meant)


def test_a_checkpoint_takes_arguments_of_its_architecture(tmp_path, one_line):
    net = seeded(lambda: timm.create_model("test_resnet", num_classes=5, output_stride=8)).eval()
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    spec = f"checkpoint:{tmp_path / 'w.safetensors'}?architecture=timm:test_resnet&num_classes=5&mean=0.5,0.4,0.3"
    spec += "&std=0.2,0.2,0.2&size=48&kwargs={'output_stride':8}"
    host, pixels = reprogram.load_host(spec), torch.rand(2, 3, 48, 48)
    with torch.no_grad():
        expected = net((pixels - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / 0.2)
        torch.testing.assert_close(host(pixels), expected, rtol=1e-4, atol=1e-5)
    assert "mean=0.5,0.4,0.3&" in host.info.id and "output_stride" in host.info.id
    again = configure("hosts", host.info.id.replace("w.safetensors", str(tmp_path / "w.safetensors")))[1]
    assert Checkpoint(again).spec() == host.info.id
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.load_host(spec.replace("output_stride", "checkpoint_path"))
    one_line(error, "checkpoint_path")
