"""Hosts whose weights change, that are copied, pickled, or used by several threads."""

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from helpers_engine import SIZE, batch, conv, gradients, largest_error, small_host
from reprogram import Host


def change_in_place(host: Host) -> None:
    """As an optimiser does."""
    with torch.no_grad():
        host.net.c.weight.mul_(2)


def put_new_ones(host: Host) -> None:
    """As `load_state_dict` with `assign=True` does, twice: memory is used again."""
    for seed in range(2):
        weight = torch.randn(4, 4, 3, 3, generator=torch.Generator().manual_seed(seed)).double()
        host.net.c.weight = nn.Parameter(weight * torch.rand(1).double(), requires_grad=False)


@pytest.mark.parametrize("change", [change_in_place, put_new_ones])
def test_weights_that_change_after_a_call(change: Callable[[Host], None]) -> None:
    torch.manual_seed(0)
    host, framed = small_host(), batch(2)
    for _ in range(20):
        host(framed)
        change(host)
        assert largest_error(host, framed) < 1e-10


def test_a_copy_of_a_used_host_is_its_own() -> None:
    host, framed = small_host(), batch(3)
    before = host(framed).detach()
    twin = copy.deepcopy(host)
    with torch.no_grad():
        twin.net.l.bias.add_(1)
    torch.testing.assert_close(twin(framed).detach(), before + 1, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(host(framed).detach(), before, rtol=0, atol=0)


def test_a_used_host_can_be_pickled() -> None:
    net = nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU6(inplace=True), conv(4, 5), nn.AdaptiveAvgPool2d(1))
    host, framed = Host.wrap(net.append(nn.Flatten()).double().eval(), size=SIZE), batch(3)
    before = gradients(host, framed)
    torch.testing.assert_close(gradients(pickle.loads(pickle.dumps(host)), framed), before, rtol=0, atol=0)  # noqa: S301


def test_a_host_made_in_inference_mode() -> None:
    with torch.inference_mode():
        host, framed = small_host(), batch(3)
        wanted = host.net((framed.dense() - host.mean) / host.std)
        torch.testing.assert_close(host(framed), wanted, rtol=1e-10, atol=1e-12)


def in_threads(work: Callable[[int], Any], count: int = 3) -> list[Any]:
    """What a function returns in several threads at once; their errors are raised here."""
    results: list[Any] = [None] * count
    start = threading.Barrier(count)

    def run(index: int) -> None:
        start.wait()
        try:
            results[index] = work(index)
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


@pytest.mark.parametrize("warm", [True, False])
def test_one_host_in_several_threads(warm: bool) -> None:
    host, batches = small_host(), [batch(n) for n in (1, 2, 3)]
    wanted = [gradients(copy.deepcopy(host), framed) for framed in batches]
    host._prepared.clear()
    if warm:
        host(batches[0])
    for found, expected in zip(in_threads(lambda index: gradients(host, batches[index])), wanted, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_hosts_that_are_made_while_others_run() -> None:
    running, framed = small_host(), batch(2)
    wanted = gradients(running, framed)

    def work(index: int) -> list[list[Tensor]]:
        return [gradients(running if index == 0 else small_host(), framed) for _ in range(10)]

    for several in in_threads(work):
        for found in several:
            torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
