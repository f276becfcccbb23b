"""Micro-batching: everybody gets the rows of their own images, in batches of a limit, from a queue with an end."""

import asyncio
import threading
import time
from random import Random

import pytest
import torch

from reprogram.serving.batcher import TURN, Batcher, FullError, retry_after


class Machine:
    """Computes 2 x + 1 of an image's only number; it can be held, and fails where it is told to."""

    def __init__(self):
        self.calls, self.free = [], threading.Event()
        self.free.set()

    def __call__(self, batches):
        self.free.wait(20)
        self.calls.append({name: len(images) for name, images in batches.items()})
        if any(bool((images.float() == 13).any()) for images in batches.values()):
            raise RuntimeError("thirteen")
        return {
            name: (2 * images.float().flatten(1) + 1, -images.float().flatten(1)) for name, images in batches.items()
        }


def images(*values):
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def batcher(machine):
    made = Batcher(machine, batch=16, queue=64)
    yield made
    machine.free.set()
    made.close()


def test_every_request_gets_its_own_rows(machine, batcher):
    chance = Random(0)

    async def one(number):
        values = [chance.randrange(20, 10_000) for _ in range(chance.choice((1, 1, 2, 3, 9, 20)))]
        while True:
            try:
                doubled, negated = await batcher.ask(f"model {number % 3}", images(*values))
                break
            except FullError as full:
                assert full.wait_s > 0
                await asyncio.sleep(0.001)
        assert doubled.flatten().tolist() == [2 * v + 1 for v in values]
        assert negated.flatten().tolist() == [-v for v in values]
        return len(values)

    async def everybody():
        return sum(await asyncio.gather(*map(one, range(300))))

    count = asyncio.run(everybody())
    assert sum(sum(call.values()) for call in machine.calls) == count
    assert max(sum(call.values()) for call in machine.calls) == 16, "a batch has a limit, and is filled"
    assert batcher.images == 0


def waiting_until(condition):
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    assert condition()


def test_what_waits_is_computed_together_and_a_large_request_takes_turns(machine, batcher):
    machine.free.clear()

    async def scenario():
        first = asyncio.create_task(batcher.ask("a", images(1)))
        await asyncio.to_thread(waiting_until, lambda: batcher.images and not batcher._waiting)  # Under way, alone.
        done = []
        large = asyncio.create_task(batcher.ask("a", images(*range(20, 60))))
        await asyncio.sleep(0)
        small = [asyncio.create_task(batcher.ask("b", images(100 + i))) for i in range(3)]
        for name, task in [("large", large), *(("small", task) for task in small)]:
            task.add_done_callback(lambda _, name=name: done.append(name))
        await asyncio.sleep(0)
        machine.free.set()
        await asyncio.gather(first, large, *small)
        return done

    done = asyncio.run(scenario())
    assert done == ["small"] * 3 + ["large"]
    assert machine.calls[0] == {"a": 1}
    assert machine.calls[1] == {"a": TURN + 16 - TURN - 3, "b": 3}


def test_the_queue_has_an_end(machine, batcher):
    machine.free.clear()

    async def scenario():
        tasks = [asyncio.create_task(batcher.ask("a", images(*range(20, 36)))) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(FullError):
            await batcher.ask("a", images(1))
        with pytest.raises(FullError):
            await Batcher.ask(batcher, "a", images(*range(65)))
        machine.free.set()
        await asyncio.gather(*tasks)
        assert (await batcher.ask("a", images(1)))[0].item() == 3

    asyncio.run(scenario())


def test_an_error_is_that_of_its_own_batch(machine, batcher):
    async def scenario():
        with pytest.raises(RuntimeError, match="thirteen"):
            await batcher.ask("a", images(*range(40)))
        assert (await batcher.ask("a", images(5)))[0].item() == 11

    asyncio.run(scenario())
    assert batcher.images == 0


def test_a_request_whose_client_is_gone_is_dropped_and_closing_answers_the_rest(machine):
    batcher = Batcher(machine, batch=4, queue=64)
    machine.free.clear()

    async def scenario():
        first = asyncio.create_task(batcher.ask("a", images(1)))
        await asyncio.to_thread(waiting_until, lambda: batcher.images == 1 and not batcher._waiting)
        gone, kept = (asyncio.create_task(batcher.ask("a", images(*range(20, 30)))) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        machine.free.set()
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        assert len((await kept)[0]) == 10 and len((await first)[0]) == 1
        await closing
        with pytest.raises(FullError):
            await batcher.ask("a", images(1))

    asyncio.run(scenario())
    assert sum(sum(call.values()) for call in machine.calls) == 11 and batcher.images == 0


def test_levels_and_pixels_are_computed_together(machine, batcher):
    machine.free.clear()

    async def scenario():
        first = asyncio.create_task(batcher.ask("a", images(1)))
        await asyncio.to_thread(waiting_until, lambda: batcher.images == 1 and not batcher._waiting)
        levels = asyncio.create_task(batcher.ask("b", torch.full((2, 1, 1, 1), 51, dtype=torch.uint8)))
        pixels = asyncio.create_task(batcher.ask("b", images(0.5)))
        await asyncio.sleep(0)
        machine.free.set()
        await first
        return (await levels)[0].flatten().tolist(), (await pixels)[0].flatten().tolist()

    levels, pixels = asyncio.run(scenario())
    assert levels == pytest.approx([1.4, 1.4]) and pixels == [2.0]


def test_retry_after_is_whole_seconds():
    assert [retry_after(seconds) for seconds in (0.0, 0.2, 1.0, 1.01, 7.5)] == ["1", "1", "1", "2", "8"]
