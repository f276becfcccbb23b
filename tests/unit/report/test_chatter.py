"""A home that can't be written is nothing that the report's reader has to know."""

import os
import subprocess
import sys


def test_matplotlib_says_nothing_where_it_can_keep_no_cache(tmp_path):
    (tmp_path / "file").touch()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MPL", "XDG"))}
    environment |= {"HOME": str(tmp_path / "file" / "home"), "MPLCONFIGDIR": str(tmp_path / "file" / "config")}
    code = "from reprogram.report.figures import figure_of, svg; print(svg(figure_of(1, 1))[:9])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "data:imag\n", "")
