"""What all figures of reports have in common: colours, and how they become part of a page."""

import base64
import io
import warnings
from typing import Any

BLUE, ORANGE, GREY = "#2a6f97", "#d1495b", "#8d99ae"


def figure_of(width: float, height: float) -> Any:
    """An empty figure, in inches, that belongs to no window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def svg(figure: Any) -> str:
    """The figure as the address that HTML can hold in itself."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # A class name in a script that the font lacks.
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
