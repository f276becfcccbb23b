"""Untrained twins: plain, and with BatchNorm conditioned on one random batch."""

import copy

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import reprogram
from helpers import ConvNet, seeded
from reprogram.hosts._info import HostInfo
from reprogram.hosts.base import Host
from reprogram.hosts.untrained import condition
from reprogram.registry import configure

TINY = "timm:test_resnet(pretrained=False, num_classes=16, size=48)"


def test_the_twin_is_the_initialisation_of_the_seed_under_its_own_name():
    twin = reprogram.load_host("untrained:timm:test_resnet?seed=7")
    other = reprogram.load_host("timm:test_resnet?pretrained=0&seed=7")
    assert twin.info.id == "untrained:timm:test_resnet?seed=7"
    assert twin.fingerprint == other.fingerprint
    assert reprogram.load_host("untrained:timm:test_resnet").fingerprint != twin.fingerprint


def test_trained_weights_are_not_needed():
    """The weights of resnet18.a1_in1k aren't here, and nothing asks for them."""
    twin = reprogram.load_host("untrained:timm:resnet18.a1_in1k?seed=1")
    assert twin.info.size == (224, 224) and twin.info.num_classes == 1000
    assert twin.untrained(1).fingerprint == twin.fingerprint != twin.untrained(2).fingerprint


def test_conditioned_batchnorm_has_the_statistics_of_its_input_in_float64():
    """Recomputed layer by layer in float64: mean and unbiased variance of what each BatchNorm reads."""
    net = seeded(lambda: ConvNet(num_classes=5))
    net.body[1].momentum = 0.01
    info = HostInfo(id="tiny", num_classes=5, size=(12, 12), mean=(0.4,) * 3, std=(0.2,) * 3)
    host = Host(net, info)
    pixels = torch.rand(50, 3, 12, 12)
    condition(host, pixels)

    x = (pixels.double() - 0.4) / 0.2
    for layer, own in zip(copy.deepcopy(net).double().body[:6], host.net.body[:6], strict=True):
        if not isinstance(layer, nn.BatchNorm2d):
            x = layer(x)
            continue
        columns = x.transpose(0, 1).flatten(1)
        mean, centred = columns.mean(1), columns - columns.mean(1, keepdim=True)
        torch.testing.assert_close(own.running_mean.double(), mean, rtol=1e-5, atol=1e-6)
        variance = centred.square().sum(1) / (columns.shape[1] - 1)
        torch.testing.assert_close(own.running_var.double(), variance, rtol=1e-5, atol=1e-6)
        scale = (centred.square().mean(1) + layer.eps).rsqrt().view(1, -1, 1, 1)
        x = (x - mean.view(1, -1, 1, 1)) * scale
    assert host.net.body[1].momentum == 0.01 and not any(module.training for module in host.net.modules())
    assert torch.equal(net.body[1].running_mean, torch.zeros(8))  # The module that was handed in is untouched.


def test_conditioning_changes_statistics_only_and_each_build_is_the_same():
    plain, conditioned, again = (
        reprogram.load_host(f"untrained:{TINY}?seed=3{more}")
        for more in ("", "&batchnorm=conditioned", "&batchnorm=conditioned")
    )
    assert conditioned.fingerprint == again.fingerprint != plain.fingerprint
    assert reprogram.load_host(conditioned.info.id).fingerprint == conditioned.fingerprint
    state = conditioned.net.state_dict()
    changed = {name for name, value in plain.net.state_dict().items() if not torch.equal(value, state[name])}
    assert changed and all("running_" in name or "num_batches" in name for name in changed)


def test_conditioned_hosts_tell_images_apart():
    """What conditioning is for: the scores' spread over images, against their own size, grows."""
    images = torch.rand(16, 3, 48, 48, generator=torch.Generator().manual_seed(9))

    def spread(spec):
        with torch.no_grad():
            scores = reprogram.load_host(spec)(images).double()
        return float(scores.std(0).mean() / scores.abs().mean())

    assert spread(f"untrained:{TINY}?seed=3&batchnorm=conditioned") > 2 * spread(f"untrained:{TINY}?seed=3")


def test_the_random_state_of_the_process_comes_back():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    reprogram.load_host(f"untrained:{TINY}?seed=3&batchnorm=conditioned")
    assert torch.equal(torch.rand(3), expected)


def test_a_checkpoints_twin_keeps_its_preprocessing_and_needs_no_file(tmp_path):
    save_file(reprogram.load_host(TINY).net.state_dict(), tmp_path / "w.safetensors")
    query = "?architecture=timm:test_resnet(num_classes=16, size=48)&mean=0.5,0.4,0.3&licence=A%26B"
    trained = reprogram.load_host(f"checkpoint:{tmp_path}/w.safetensors{query}")
    twin = reprogram.load_host(f"untrained(host={f'checkpoint:{tmp_path}/w.safetensors{query}'!r}, seed=4)")
    assert twin.info.mean == trained.info.mean == (0.5, 0.4, 0.3)
    assert twin.fingerprint == trained.untrained(4).fingerprint != trained.fingerprint
    assert twin.info == trained.untrained(4).info
    assert str(tmp_path) not in twin.info.id
    (tmp_path / "w.safetensors").unlink()
    again = reprogram.load_host(twin.info.id)
    assert again.fingerprint == twin.fingerprint and again.info == twin.info


@pytest.mark.parametrize(
    "spec,texts",
    {
        "untrained:linear:16?batchnorm=conditioned": ("linear:16", "no BatchNorm", "leave batchnorm"),
        "untrained:untrained:linear:16": ("untrained already",),
        "untrained:linear:16?batchnorm=other": ("batchnorm", "conditioned"),
        "untrained:nonesuch": ("nonesuch",),
    }.items(),
)
def test_what_makes_no_sense_is_refused_in_one_line(spec, texts, one_line):
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.load_host(spec)
    one_line(error, *texts)


def test_a_strangers_file_names_no_files_by_way_of_a_twin():
    """Program files build hosts from names; a twin is as trustworthy as its host."""
    for host in ("checkpoint:x?architecture=timm:test_resnet", "timm:test_resnet(kwargs={'a': 1})"):
        variant, config = configure("hosts", f"untrained(host={host!r})")
        assert not variant(config).nameable()
    variant, config = configure("hosts", "untrained:timm:test_resnet?seed=1")
    assert variant(config).nameable()


def test_a_host_without_a_twin_says_so(monkeypatch, one_line):
    from reprogram.hosts._random_net import RandomNet
    from reprogram.hosts.linear import Linear

    monkeypatch.delattr(RandomNet, "untrained")
    monkeypatch.setattr(Linear, "build", lambda self, download: Host.wrap(nn.Flatten(), size=4))
    with pytest.raises(reprogram.ConfigError) as error:
        reprogram.load_host("untrained:linear:16")
    one_line(error, "untrained twin")
