"""Drawings as addresses that HTML can hold in itself."""

import base64
import io
import warnings
from typing import Any

BLUE, ORANGE, GREY = "#2a6f97", "#d1495b", "#8d99ae"


def figure_of(width: float, height: float) -> Any:
    """An empty figure.

    Args:
        width: in inches.
        height: in inches.
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def svg(figure: Any) -> str:
    """A figure as an SVG in a data address."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with warnings.catch_warnings(), rc_context({"svg.hashsalt": "reprogram"}):  # The same figure, the same bytes.
        warnings.simplefilter("ignore")  # A class name in a script that the font lacks.
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
