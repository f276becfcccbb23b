"""Places in a JSON value."""

import pytest

import reprogram
from reprogram.hosts._json_path import JsonPath

VALUE = {"a": [{"b": 1, "c d": "x"}, {"b": 2, "c d": "y"}], "e-f": {"0": [[3, 4], [5]]}}


@pytest.mark.parametrize(
    "path, found",
    [
        ("", VALUE),
        ("a[1].b", 2),
        ("a[*].b", [1, 2]),
        ("a[0].c d", "x"),
        ("e-f.0[0][1]", 4),
        ("e-f.0[*][0]", [3, 5]),
        ("e-f.0[*][*]", [[3, 4], [5]]),
    ],
)
def test_finds(path, found):
    assert JsonPath(path).get(VALUE) == found


def test_a_list_at_the_top():
    assert JsonPath("[*].b").get(VALUE["a"]) == [1, 2] and JsonPath("[1]").get([7, 8]) == 8


@pytest.mark.parametrize(
    "path, words",
    [
        ("x", "'x' in an object with 'a', 'e-f'"),
        ("a.b", "'b' in a list of 2"),
        ("a[2]", "item 2 in a list of 2"),
        ("[0]", "item 0 in an object"),
        ("e-f[*]", "a list, not an object with '0'"),
        ("a[*].b.c", "'c' in 1"),
    ],
)
def test_says_what_is_there_instead(path, words):
    with pytest.raises(LookupError) as error:
        JsonPath(path).get(VALUE)
    assert words in str(error.value)


@pytest.mark.parametrize("path", ["a[", "a]", "a[x]", "a..b", ".a[-1]", "a[1", "a[*]b", "__import__('os')[x]"])
def test_refused(path):
    with pytest.raises(reprogram.ConfigError, match="can't read it"):
        JsonPath(path)
