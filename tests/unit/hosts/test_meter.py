"""The meter: its counts are the bill, and no order in which threads ask goes beyond a limit."""

import copy
import pickle
import random
import threading
from decimal import Decimal

import pytest

from reprogram.errors import BudgetError
from reprogram.hosts._meter import images_for
from reprogram.hosts._store import AnswerStore
from reprogram.hosts.base import Meter


def test_the_counts_of_each_outcome():
    meter = Meter(price=2.0)
    with meter.request(4) as sent:
        sent.answered()
    with meter.request(4) as sent:
        sent.refused()
    with meter.request(4, retry=True):
        pass
    with pytest.raises(ConnectionError), meter.request(3):
        raise ConnectionError
    with pytest.raises(ValueError), meter.request(2) as sent:
        sent.answered()
        raise ValueError("an answer that was billed, and can't be read")
    meter.count(10)
    assert (meter.calls, meter.images, meter.lost, meter.requests, meter.retries) == (3, 16, 7, 6, 1)
    assert meter.cost == 2.0 * 23 / 1000 and meter.in_flight == 0
    assert meter.bill() == {
        "images": 16, "lost": 7, "requests": 6, "retries": 1, "seconds": 0.0, "price": 2.0, "cost": 0.046
    }  # fmt: skip


@pytest.mark.parametrize(
    "limits, asked, words",
    [
        ({"limit": 5}, 3, "5 images at the most; 3 are spent, and 3 more"),
        ({"limit": 0}, 1, "0 images at the most"),
        ({"request_limit": 1}, 1, "1 requests at the most; 1 are spent"),
        ({"request_limit": 0}, 1, "0 requests"),
        ({"cost_limit": 0.01, "price": 2.0}, 3, "cost 0.01 at the most, 5 images at 2 a thousand; 3 are spent"),
    ],
)
@pytest.mark.parametrize("local", [True, False])
def test_nothing_is_sent_beyond_a_limit(limits, asked, words, local):
    meter = Meter(**limits)

    def ask():
        if local:
            meter.count(asked)
            return
        with meter.request(asked) as sent:
            sent.answered()

    if 0 not in limits.values():
        ask()
    before = copy.copy(meter)
    with pytest.raises(BudgetError, match=words):
        ask()
    assert meter == before and meter.in_flight == 0


def test_money_is_counted_in_decimals():
    """0.1 · 3 isn't 0.3 in binary; the oracle counts in thousandths."""
    for price in (0.1, 0.3, 1.3, 2.0, 7.7):
        for thousandths in range(0, 50):
            cost = float(Decimal(thousandths) / 1000)
            expected = thousandths * 10 // round(price * 10)
            assert images_for(cost, price) == expected


def test_copies_have_a_lock_of_their_own():
    meter = Meter(images=3, limit=7)
    for other in (copy.deepcopy(meter), pickle.loads(pickle.dumps(meter))):  # noqa: S301
        assert other == meter and other._lock is not meter._lock


@pytest.mark.parametrize("part", range(4))
def test_random_interleavings_of_requests(part):
    """Requests begin and end in a random order, 1,000 times in all; the oracle keeps its own lists."""
    for seed in range(250):
        chance = random.Random(1000 * part + seed)
        limit, requests = chance.randint(0, 40), chance.randint(0, 12)
        price = chance.choice([None, 1.0, 2.5])
        cost = chance.randint(0, 60) / 1000
        meter = Meter(limit=limit, request_limit=requests, cost_limit=cost, price=price)
        most = limit if price is None else min(limit, int(Decimal(str(cost)) * 1000 / Decimal(str(price))))
        billed, sent_count, open_requests = 0, 0, []
        for _ in range(60):
            if open_requests and chance.random() < 0.5:
                context, sent, images = open_requests.pop(chance.randrange(len(open_requests)))
                outcome = chance.choice(["answered", "refused", "lost"])
                if outcome != "lost":
                    getattr(sent, outcome)()
                context.__exit__(None, None, None)
                billed += images if outcome != "refused" else 0
            else:
                images = chance.randint(1, 7)
                under_way = sum(n for _, _, n in open_requests)
                allowed = billed + under_way + images <= most and sent_count < requests
                context = meter.request(images)
                try:
                    sent = context.__enter__()
                except BudgetError:
                    assert not allowed
                    continue
                assert allowed
                sent_count += 1
                open_requests.append((context, sent, images))
            assert meter.billed == billed and meter.requests == sent_count
            assert meter.billed + meter.in_flight <= most


def test_threads_together_never_exceed_a_limit():
    for seed in range(40):
        meter, host_count, barrier = Meter(limit=50, request_limit=20), [], threading.Barrier(8)

        def work(number, seed=seed, meter=meter, host_count=host_count, barrier=barrier):
            chance = random.Random(100 * seed + number)
            barrier.wait()
            for _ in range(6):
                images = chance.randint(1, 5)
                try:
                    with meter.request(images) as sent:
                        host_count.append(images)
                        if chance.random() < 0.7:
                            sent.answered()
                except BudgetError:
                    return

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(host_count) == meter.billed <= 50 and len(host_count) == meter.requests <= 20
        assert meter.in_flight == 0


def test_what_nobody_received_is_no_request(tmp_path):
    """Not in the meter, nor in the ledger that another process reads."""
    meter = Meter(limit=10, request_limit=2)
    store = AnswerStore(tmp_path / "bill", meter)
    for retry in (False, True, True):
        with meter.request(4, retry=retry) as sent:
            sent.unsent()
    with meter.request(4) as sent:
        sent.refused()
    assert (meter.requests, meter.retries, meter.lost, meter.images, meter.in_flight) == (1, 0, 0, 0, 0)
    store.close()
    again = Meter()
    AnswerStore(tmp_path / "bill", again).close()
    assert (again.requests, again.retries, again.lost) == (1, 0, 0)
