"""The task parity: its labels are parities, its boards are all different, and examples alone don't tell them."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from reprogram.errors import ConfigError
from reprogram.tasks._factory import load_task


@pytest.fixture(scope="module")
def task():
    return load_task("parity(train=1000, validation=100, test=400)")


def cells(split):
    return (split.images[:, 0, 1::4, 1::4] > 0).numpy().astype(int)  # n x 4 x 4


def test_labels_are_the_parities_of_the_board_and_of_three_rows(task):
    for split in (task.train, task.validation, task.test):
        board = cells(split)
        whole = np.bitwise_xor.reduce(board.reshape(len(board), -1), axis=1)
        rows = np.bitwise_xor.reduce(board[:, :3].reshape(len(board), -1), axis=1)
        assert (split.labels.numpy() == 2 * whole + rows).all()
        assert split.images.shape[1:] == (1, 16, 16) and set(split.images.unique().tolist()) == {0, 255}
    assert np.bincount(task.train.labels).min() > 200


def test_no_board_occurs_twice(task):
    boards = np.concatenate([cells(split).reshape(-1, 16) for split in (task.train, task.validation, task.test)])
    assert len(np.unique(boards, axis=0)) == 1500


def test_examples_alone_do_not_tell(task):
    train, test = cells(task.train).reshape(-1, 16), cells(task.test).reshape(-1, 16)
    for classifier in (LogisticRegression(), KNeighborsClassifier(1)):
        accuracy = classifier.fit(train, task.train.labels).score(test, task.test.labels)
        assert accuracy < 0.45, classifier  # Chance is 0.25.


def test_more_boards_than_there_are_are_refused():
    with pytest.raises(ConfigError, match="65,536"):
        load_task("parity(train=60000, validation=5000, test=5000)")
