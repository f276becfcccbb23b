"""Figures are drawn whatever variables others left for Matplotlib: a report comes at the end of hours."""

import os
import subprocess
import sys

import pytest

DRAW = """
from reprogram.report.figures import figure_of, svg
figure = figure_of(2, 1)
figure.subplots().plot([0, 1])
print(svg(figure)[:26], __import__("os").environ.get("{name}"))
"""


@pytest.mark.parametrize(
    "name,value",
    [
        ("MPLBACKEND", "nope"),
        ("MPLBACKEND", "module://matplotlib_inline.backend_inline"),
        ("SOURCE_DATE_EPOCH", "yesterday"),
    ],
)
def test_left_over_variables_of_matplotlib(name, value):
    done = subprocess.run(
        [sys.executable, "-c", DRAW.format(name=name)], env={**os.environ, name: value}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.split()) == (0, ["data:image/svg+xml;base64,", value]), done.stderr
