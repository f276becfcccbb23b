"""Signals that end a run: none is lost, wherever it arrives."""

import signal

import pytest

from reprogram.training.signals import held_signals


@pytest.fixture
def ends():
    """The process's handlers in the test: they end what runs, as those of the command line do."""

    def end(number, _):
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("ends")
def test_a_signal_after_the_last_look_still_ends_the_run():
    with pytest.raises(SystemExit) as ended, held_signals(active=True) as pending:
        assert not pending
        signal.raise_signal(signal.SIGTERM)
        assert pending == [signal.SIGTERM]  # Nobody looks any more: the block ends as if nothing had come.
    assert ended.value.code == 143


@pytest.mark.usefixtures("ends")
def test_a_signal_that_the_block_answers_is_not_raised_again():
    with pytest.raises(KeyboardInterrupt), held_signals(active=True) as pending:
        signal.raise_signal(signal.SIGTERM)
        assert pending
        raise KeyboardInterrupt
