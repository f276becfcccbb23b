"""Coverage-guided fuzzing of the reader of program files: `python -m attacks.fuzz_program_file -max_total_time=300`.

Needs atheris (`pip install atheris`), which isn't a dependency. Inputs are damage by structure, or raw bytes.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["reprogram.programfile.file", "reprogram.programfile.format", "json"]):
    import reprogram.programfile.file  # noqa: F401

from attacks import mutate
from attacks.samples import good_program

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-program-"))
GOOD = good_program(FOLDER).read_bytes()


def one_input(data: bytes) -> None:
    """Whatever the bytes are: refused in one line, or canonical."""
    provider = atheris.FuzzedDataProvider(data)
    if provider.ConsumeBool():
        raw = provider.ConsumeBytes(len(data))
    else:
        raw = mutate.program_file(GOOD, lambda n: provider.ConsumeIntInRange(0, n - 1))
    mutate.check_program_file(raw, FOLDER / "x.safetensors")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
