"""What a host's trial finds: chance, company, scores that aren't numbers, a normalisation that changed places."""

import warnings

import pytest
import torch
from torch import nn

from helpers import seeded
from reprogram import Host


class Inner(nn.Module):
    """A convolution, batch normalisation and a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)

    def forward(self, images):
        return self.head(torch.relu(self.norm(self.conv(images))).mean((2, 3)))


class Around(nn.Module):
    """A module that does something with another one's scores.

    Args:
        act: of the module itself and its input, gives scores.
    """

    def __init__(self, act):
        super().__init__()
        self.inner, self.act = seeded(Inner), act

    def forward(self, images):
        return self.act(self, images)


OTHER = seeded(Inner)  # In training mode, and no part of the module that calls it.


def unregistered(self, images):
    return self.inner(images) + OTHER(images)


def of_the_batch(self, images):
    scores = self.inner(images)
    return scores - scores.mean(0)


def without_statistics(self, images):
    return self.inner(nn.functional.batch_norm(images, None, None, training=True))


COMPANY = {"unregistered": unregistered, "batch": of_the_batch, "statistics": without_statistics}


@pytest.mark.parametrize("name", COMPANY)
def test_scores_that_depend_on_the_images_beside_are_told(name):
    with pytest.warns(UserWarning, match="depend on the images beside it.*eval"):
        Host.wrap(Around(COMPANY[name]), size=12)


@pytest.mark.parametrize("strength", [1e-2, 1.0])
def test_scores_that_depend_on_chance_are_told(strength):
    def noisy(self, images):
        return self.inner(images) + strength * torch.randn(len(images), 5)

    with pytest.warns(UserWarning, match="depend on chance"):
        Host.wrap(Around(noisy), size=12)


def test_chance_that_spares_two_calls_is_told():
    """The first call of the copy differs; the module itself gives the same twice."""
    factors = iter([1, 1, 2, 2, 2, 1, 2, 2, 2, 2])

    def flickering(self, images):
        return self.inner(images) * next(factors) if len(images) > 1 and images.std() > 0 else self.inner(images)

    with pytest.warns(UserWarning, match="depend on chance"):
        Host.wrap(Around(flickering), size=12)


def in_place(self, images):
    return self.inner(images.mul_(2))


def left_out(self, images):
    scores = self.inner(images).clone()
    scores[:, 2] = float("-inf")
    return scores


@pytest.mark.parametrize("act", [in_place, left_out])
def test_right_modules_are_not_complained_about(act):
    net, images = Around(act), torch.rand(3, 3, 12, 12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        host = Host.wrap(net, size=12)
    with torch.no_grad():
        torch.testing.assert_close(host(images), net.eval()(images.clone()), rtol=1e-4, atol=1e-5)


def test_scores_that_are_others_with_gradients_are_told():
    def by_mode(self, images):
        return self.inner(images) * (2 if torch.is_grad_enabled() else 1)

    net, images = Around(by_mode), torch.rand(3, 3, 12, 12)
    with pytest.warns(UserWarning, match="where gradients are computed"):
        host = Host.wrap(net, size=12)
    torch.testing.assert_close(host(images), net.eval()(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "mean,std,swapped",
    [
        ((0.229, 0.224, 0.225), (0.485, 0.456, 0.406), True),  # ImageNet's.
        ((0.247, 0.243, 0.262), (0.491, 0.482, 0.447), True),  # CIFAR-10's.
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), False),
        ((0.481, 0.458, 0.408), (0.269, 0.261, 0.276), False),  # CLIP's.
        ((0.5,) * 3, (0.5,) * 3, False),
        ((0.5,) * 3, (1.0,) * 3, False),
        ((0.0,) * 3, (1.0,) * 3, False),
        ((0.0,) * 3, (1 / 255,) * 3, False),
        ((0.1307,) * 3, (0.3081,) * 3, False),  # MNIST's.
    ],
)
def test_a_normalisation_that_changed_places_is_told(mean, std, swapped):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Host.wrap(seeded(Inner), size=12, mean=mean, std=std)
    assert [("changed places" in str(item.message)) for item in caught] == [True] * swapped
