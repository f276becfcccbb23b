"""Hosts with fewer or coarser weights, of layers that hold their weights in unusual ways; oracle: NumPy."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from reprogram.errors import ConfigError
from reprogram.hosts.base import Host
from reprogram.hosts.pruned import Pruned
from reprogram.hosts.quantized import Quantized

SIZE = 8


class Attention(nn.Module):
    """Rows of the image attend to each other."""

    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(3 * SIZE, 2, batch_first=True, **options)
        self.head = nn.Linear(3 * SIZE, 4)

    def forward(self, pixels):
        rows = pixels.transpose(1, 2).flatten(2)
        return self.head(self.attention(rows, rows, rows, need_weights=False)[0].mean(dim=1))


def net(*layers):
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(4))


def wrapped(module):
    torch.manual_seed(0)
    module.eval()(torch.zeros(1, 3, SIZE, SIZE))
    return Host.wrap(module, size=SIZE)


def pruned(host, share=0.5):
    return Pruned(Pruned.Config(host="x", share=share))._changed(host).net


def quantized(host, bits=3):
    return Quantized(Quantized.Config(host="x", bits=bits))._changed(host).net


def levels(row):
    return len(np.unique(np.abs(row.detach().numpy()).round(6)))


def test_a_weight_that_is_computed_of_others_is_changed_itself():
    conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 6, 3))
    host = wrapped(net(conv))
    sizes = np.concatenate([conv.weight.detach().numpy().ravel(), host.net[-1].weight.detach().numpy().ravel()])
    kept = pruned(host)
    zeros = sum(int((part.weight == 0).sum()) for part in (kept[0], kept[-1]))
    assert zeros == len(sizes) // 2
    assert max(levels(row) for row in quantized(host)[0].weight) <= 4  # 0, and 1 to 3 steps.
    assert torch.equal(conv(torch.ones(1, 3, 8, 8)), host.net[0](torch.ones(1, 3, 8, 8))), "the host stays as it is"


@pytest.mark.parametrize("make", [pruned, quantized])
def test_a_weight_that_nobody_can_change_is_refused(make, one_line):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        host = wrapped(net(nn.utils.spectral_norm(nn.Conv2d(3, 6, 3))))
    with pytest.raises(ConfigError) as error:
        make(host)
    one_line(error.value, "Conv2d", "computes its weight anew")


@pytest.mark.parametrize("options", [{}, {"kdim": 3 * SIZE, "vdim": 24}, {"kdim": 24, "vdim": 3 * SIZE}])
def test_all_weights_of_an_attention_are_changed(options):
    host = wrapped(Attention(**options))
    names = [name for name, _ in host.net.attention.named_parameters() if "proj_weight" in name]
    assert names
    for name in names:
        few = quantized(host).attention.get_parameter(name)
        assert max(levels(row) for row in few) <= 4
    matrices = [p for name, p in pruned(host, 0.9).named_parameters() if p.ndim > 1]
    zeros = sum(int((p == 0).sum()) for p in matrices)
    assert zeros == int(0.9 * sum(p.numel() for p in matrices))


@pytest.mark.parametrize("groups", [1, 2])
def test_the_outputs_of_a_transposed_convolution_have_steps_of_their_own(groups):
    conv = nn.ConvTranspose2d(4, 6, 3, groups=groups)
    host = wrapped(net(nn.Conv2d(3, 4, 1), conv))
    before, after = conv.weight.detach().numpy(), quantized(host)[1].weight.detach().numpy()
    per_group = 6 // groups
    for group in range(groups):
        inputs = slice(group * 4 // groups, (group + 1) * 4 // groups)
        for output in range(per_group):
            weight = before[inputs, output]
            step = np.abs(weight).max() / 3
            np.testing.assert_allclose(after[inputs, output], np.round(weight / step) * step, atol=1e-6)


def test_equal_weights_are_pruned_to_the_share_and_no_further():
    host = wrapped(net(nn.Conv2d(3, 6, 3)))
    with torch.no_grad():
        for part in (host.net[0], host.net[-1]):
            part.weight.copy_(torch.where(part.weight > 0, 1.0, -1.0))
    kept = pruned(host, 0.25)
    zeros, total = (
        sum(int(count(part.weight)) for part in (kept[0], kept[-1]))
        for count in (lambda w: (w == 0).sum(), torch.numel)
    )
    assert zeros == int(0.25 * total)
