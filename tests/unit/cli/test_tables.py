"""Tables on terminals of any width: what doesn't fit stands below, and nothing is lost."""

import fcntl
import os
import pty
import struct
import termios

import pytest

from helpers_runs import make_run, runs_cli
from reprogram.cli.console import is_live, table

HEADED = [("name", "host", "n"), ("a", "timm:resnet18 with a long name", 5), ("b", "", 7)]
FACTS = [("name", "one two three four five six seven", "eight"), ("long", "nine")]


def printed(capsys, rows, headed=False):
    table(rows, headed=headed)
    return capsys.readouterr().out


def test_without_a_terminal_a_row_is_a_line(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert printed(capsys, HEADED, headed=True).splitlines() == [
        "name  host                            n",
        "a     timm:resnet18 with a long name  5",
        "b                                     7",
    ]


def test_a_narrow_table_with_headings_is_blocks_without_empty_cells(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    assert printed(capsys, HEADED, headed=True).splitlines() == [
        "a",
        "  host  timm:resnet18 with a",
        "        long name",
        "  n     5",
        "b",
        "  n     7",
    ]


def test_a_narrow_table_of_facts_goes_on_below(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "24")
    assert printed(capsys, FACTS).splitlines() == [
        "name  one two three four",
        "      five six seven",
        "      eight",
        "long  nine",
    ]
    monkeypatch.setenv("COLUMNS", "20")
    assert printed(capsys, FACTS).splitlines()[:2] == ["name", "  one two three four"]


@pytest.mark.parametrize("columns", [24, 40, 60, 80, 120, 200])
def test_runs_are_whole_at_any_width(tmp_path, monkeypatch, columns):
    host = "timm:test_resnet(pretrained=False, num_classes=16, size=64)"
    for name, options in (("first", {"host": host}), ("second", {"host": "linear:40", "baselines": []})):
        make_run(tmp_path / name, **options)
    whole = runs_cli("list", "--runs", tmp_path)[1].split()
    shown, show = set(whole) - {"name"}, runs_cli("show", tmp_path / "first")[1].split()
    monkeypatch.setenv("COLUMNS", str(columns))
    _, out, _ = runs_cli("list", "--runs", tmp_path)
    assert shown <= {*out.split(), "name"}
    assert all(len(line) <= columns or " " not in line.strip() for line in out.splitlines())
    assert runs_cli("show", tmp_path / "first")[1].split() == show


def test_wide_characters_are_aligned(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert printed(capsys, [("猫犬", "1"), ("cats", "2"), ("é", "3")]) == "猫犬  1\ncats  2\né     3\n"


def test_a_terminal_says_how_wide_it_is(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 30, 0, 0))
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        table(HEADED, headed=True)
        terminal.flush()
        shown = b""
        while b"  n     7" not in shown:  # The last line; a read may give less than was written.
            shown += os.read(leader, 10_000)
    os.close(leader)
    assert shown.decode().splitlines()[1] == "  host  timm:resnet18 with a"


@pytest.mark.parametrize(("term", "live"), [("xterm-256color", True), ("dumb", False), ("unknown", False)])
def test_a_dumb_terminal_gets_lines(monkeypatch, term, live):
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert is_live() == live
