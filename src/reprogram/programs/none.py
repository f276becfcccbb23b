"""No program: the canvas as it is; for learned or fitted label maps on their own."""

from reprogram.framed import Framed
from reprogram.programs.base import Program


class NoProgram(Program):
    """Nothing is drawn and nothing learned: what a label map such as `linear` reaches by itself."""

    confined = True

    def run(self, framed: Framed) -> Framed:
        """Hand on the canvas."""
        return framed
