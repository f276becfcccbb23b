"""What a program makes from its options alone, and no file keeps."""

from torch import Tensor

from reprogram.framed import Geometry
from reprogram.programs.base import Program


def unsaved_buffers(program: Program, geometry: Geometry | None = None) -> dict[str, Tensor]:
    """The buffers that a program makes from its options: which pixels or waves its numbers belong to.

    Args:
        program: the program.
        geometry: another canvas that they are asked for; a program that is built from a file's content tells none.
    """
    saved = program.state_dict()
    if geometry not in (None, program.geometry):
        if saved.keys() - dict(program.named_parameters()).keys():
            return {}
        program = type(program)(program.config, geometry=geometry)
    return {name: value for name, value in program.named_buffers() if name not in saved}
