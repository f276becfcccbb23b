"""A text that is cut shows it; names of files are read as UTF-8 in every locale."""

import pytest

from reprogram.utils.text import as_utf8, cut, printable


def test_what_is_cut_ends_with_an_ellipsis():
    assert [cut("abcde", most) for most in (1, 4, 5, 9)] == ["…", "abc…", "abcde", "abcde"] and cut("", 1) == ""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("été/猫.png".encode(), "été/猫.png"),
        (b"caf\xe9.png", "caf\ufffd.png"),
        (b"\xc2\x9b31m.png", "\ufffd31m.png"),  # A control character of terminals.
    ],
)
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_of_files_are_shown_as_utf8(name, shown, encoding):
    assert printable(name.decode(encoding, errors="surrogateescape")) == shown


def test_what_is_readable_can_be_written():
    assert as_utf8("a\ud800b\udfff") == "a?b?" and as_utf8("plain é") == "plain é"
    assert printable("a\ud800b") == "a?b"
