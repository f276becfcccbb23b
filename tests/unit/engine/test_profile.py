"""The profile's counts against counts by hand, and its reasons."""

import pytest
import torch
from torch import Tensor, nn

from reprogram import Box, Framed, Host
from reprogram.engine.profile import HostProfile, profile

BATCH = 5


def profile_of(net: nn.Module, box: Box, size: int = 20) -> HostProfile:
    """The profile of a batch of five."""
    window = torch.rand(BATCH, 3, box.height, box.width)
    framed = Framed(frame=torch.rand(1, 3, size, size), window=window, box=box)
    return profile(Host.wrap(net.eval(), size=size).prepared, framed)


SMALL = Box(top=8, left=6, height=2, width=4)


def test_multiplications_of_a_small_net_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),  # 20 x 20; the window grows to 4 x 6.
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),  # Rows 7-10 and columns 5-10 reach outputs 3-5 and 2-5.
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 7),
    )
    found = profile_of(net, SMALL)
    assert found.traced
    assert [stage.size for stage in found.stages] == [(20, 20), (10, 10), (1, 1)]
    assert [stage.window for stage in found.stages] == [(4, 6), (3, 4), None]
    first, second, last = 4 * 3 * 9, 6 * 2 * 9, 6 * 7
    assert [stage.dense_macs for stage in found.stages] == [BATCH * 400 * first, BATCH * 100 * second, BATCH * last]
    assert [stage.shared_macs for stage in found.stages] == [
        (400 + BATCH * 24) * first,
        (100 + BATCH * 12) * second,
        BATCH * last,
    ]
    assert found.dense_macs == sum(stage.dense_macs for stage in found.stages)
    assert found.shared_macs == sum(stage.shared_macs for stage in found.stages)


class ChannelsLastBlock(nn.Module):
    """A linear layer on permuted maps, and a question about their type."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mix = nn.Conv2d(3, 4, 1), nn.Linear(4, 6)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        maps = self.mix(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).to(maps.dtype)
        return maps.mean((2, 3))


def test_linear_layers_on_every_pixel() -> None:
    found = profile_of(ChannelsLastBlock(), SMALL)
    assert [stage.size for stage in found.stages] == [(20, 20)]
    assert found.dense_macs == BATCH * 400 * (12 + 24)
    assert found.shared_macs == (400 + BATCH * 8) * (12 + 24)


class AsksForItsType(nn.Module):
    """Reads an attribute of shared maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        return maps.mean((2, 3)).to(maps.dtype)


def test_only_maps_become_dense() -> None:
    assert [name.split()[0] for name, _ in profile_of(AsksForItsType(), SMALL).became_dense] == ["mean"]


LARGE = Box(top=1, left=1, height=18, width=18)


@pytest.mark.parametrize(
    ("middle", "box", "reasons"),
    [
        (nn.Identity(), SMALL, ["the maps end here"]),
        (nn.Conv2d(4, 4, 3, padding=1), LARGE, ["the window covers most of the map"]),
        (nn.GroupNorm(2, 4), SMALL, ["no rule"]),
        (nn.MaxPool2d(3, return_indices=False), SMALL, ["the maps end here"]),
        (nn.AdaptiveAvgPool2d(3), SMALL, ["the rule doesn't cover these arguments"]),
    ],
    ids=["to the end", "large window", "no rule", "pool", "sizes that don't divide"],
)
def test_why_maps_became_dense(middle: nn.Module, box: Box, reasons: list[str]) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), middle, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert [reason for _, reason in profile_of(net, box).became_dense] == reasons


class Untraceable(nn.Module):
    """Looks at a value."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3))


def test_a_host_that_stays_whole_or_has_nothing_to_share() -> None:
    assert profile_of(Untraceable(), SMALL) == HostProfile(traced=False)
    found = profile_of(nn.Sequential(nn.Conv2d(3, 4, 1), Untraceable()), SMALL)
    assert found.traced
    assert [reason for _, reason in found.became_dense] == ["no rule"]
