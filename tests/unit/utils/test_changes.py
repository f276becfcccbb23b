"""When files were last changed, behind links and with older dates."""

import math
import os
import time

import pytest

from reprogram.utils.changes import last_change

LATER = 4e9
"""A date after all others."""


def test_without_paths_nothing_was_ever_changed():
    assert last_change([]) == 0


@pytest.mark.parametrize("link", ["file", "folder", "outer"])
def test_a_change_behind_a_link_counts(link, tmp_path):
    changed = tmp_path / "elsewhere" / "classes" / "image.png"
    changed.parent.mkdir(parents=True)
    changed.touch()
    os.utime(changed, (LATER, LATER))
    place, target = {
        "file": (tmp_path / "data" / "image.png", changed),
        "folder": (tmp_path / "data" / "classes", changed.parent),
        "outer": (tmp_path / "data", tmp_path / "elsewhere"),
    }[link]
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(target)
    assert last_change([tmp_path / "data"]) == LATER


def test_a_file_with_an_older_date_was_changed_when_it_got_it(tmp_path):
    path = tmp_path / "x.npz"
    before = time.time() - 1
    path.touch()
    os.utime(path, (1e9, 1e9))
    assert before <= last_change([path]) <= time.time() + 1


def test_links_in_a_circle_end(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "image.png").touch()
    os.utime(tmp_path / "a" / "image.png", (LATER, LATER))
    assert last_change([tmp_path]) == LATER


def test_what_is_gone_may_have_been_changed_at_any_time(tmp_path):
    assert last_change([tmp_path / "gone"]) == math.inf
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    assert last_change([tmp_path]) == math.inf
