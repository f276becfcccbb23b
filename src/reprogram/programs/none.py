"""No program: the canvas as it is; for learned or fitted label maps on their own."""

from reprogram.framed import Framed
from reprogram.programs.base import Program


class NoProgram(Program):
    """A program that draws and learns nothing: it shows what a label map such as `linear` reaches by itself."""

    confined = True

    def run(self, framed: Framed) -> Framed:
        """Return the canvas unchanged."""
        return framed
