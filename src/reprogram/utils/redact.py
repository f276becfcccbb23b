"""What others are told of a command or a spec: no folders of this machine."""

import re
import shlex

PRIVATE = ("--out", "--data", "--runs")
"""Options whose values are folders of this machine, and decide nothing."""

FOLDERS = re.compile(
    r"(?<![^\s:=,'\"(])(?:[A-Za-z]:(?=[/\\])|~[^/\\]*|\.{1,2})?[/\\](?:[^/\\?&=,;:'\"()]*[/\\])*(?=[^/\\])"
)
"""What stands before the last part of a path that begins with a slash, a drive, `~`, `.` or `..`: a name such as
`google/vit` is no path."""


def without_folders(text: str) -> str:
    """A text in which each path is its last part: `checkpoint:/home/me/w.pt?size=32` is `checkpoint:w.pt?size=32`.

    Args:
        text: a spec, or a word of a command; an address with `://` stays as it is.
    """
    return text if "://" in text else FOLDERS.sub("", text)


def public_command(command: str) -> str:
    """A command as it may be shown to others: without the options that are `PRIVATE`, and without folders.

    Args:
        command: as a shell reads it; one that no shell reads is left out as a whole.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    kept, skips = [], False
    for word in words:
        if not skips and word.partition("=")[0] not in PRIVATE:
            kept.append(without_folders(word))
        skips = not skips and word in PRIVATE
    return shlex.join(kept)
