"""A text that is cut shows it."""

from reprogram.utils.text import cut


def test_what_is_cut_ends_with_an_ellipsis():
    assert [cut("abcde", most) for most in (1, 4, 5, 9)] == ["…", "abc…", "abcde", "abcde"] and cut("", 1) == ""
