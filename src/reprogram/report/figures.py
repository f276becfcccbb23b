"""Figures as data URLs for an HTML page."""

import base64
import io
import logging
import warnings
from typing import Any

from reprogram.utils.environment import without_variables

BLUE, ORANGE, GREY = "#2a6f97", "#d1495b", "#8d99ae"


def figure_of(width: float, height: float) -> Any:
    """An empty figure of matplotlib.

    Args:
        width: the width in inches.
        height: the height in inches.
    """
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)  # Where no cache can be kept in HOME, it says so on stderr, and goes on.
    with without_variables("MPLBACKEND"):  # A backend of windows or notebooks, which may not be here; none is used.
        from matplotlib.figure import Figure
    logger.setLevel(level)
    return Figure(figsize=(width, height), layout="constrained")


def svg(figure: Any) -> str:
    """A figure as an SVG in a data URL; the same figure gives the same bytes.

    Args:
        figure: a figure of matplotlib.
    """
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with without_variables("SOURCE_DATE_EPOCH"), warnings.catch_warnings(), rc_context({"svg.hashsalt": "reprogram"}):
        warnings.simplefilter("ignore")  # Class names may be in a script that the font lacks.
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
