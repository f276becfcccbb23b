"""`python -m attacks`: write every hostile file, read it, and print what the refusal cost, the dearest last."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from attacks import forging, images, program_files, program_headers
from attacks.samples import good_image, good_program

ROOT = Path(__file__).resolve().parents[1]
LISTED = (program_files, program_headers, images)  # Importing a file lists its attacks.
FAMILIES = {"program": (forging.ATTACKS, good_program), "image": (images.ATTACKS, good_image)}


def measured(kind: str, folder: Path) -> dict[str, dict[str, object]]:
    """Every attack of a family by name, with what `attacks.measure` says of it."""
    attacks, make_good = FAMILIES[kind]
    good = make_good(folder)
    raw = good.read_bytes()
    paths = {}
    for name, write in attacks.items():
        (folder / name).mkdir()
        paths[name] = write(folder / name, raw)
    command = [sys.executable, "-m", "attacks.measure", kind, str(good), *map(str, paths.values())]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()  # noqa: S603
    return dict(zip(paths, map(json.loads, lines), strict=True))


def main() -> int:
    """Print a line for each attack; 1 if one wasn't refused."""
    failed = 0
    for kind in FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            results = measured(kind, Path(folder))
        for name, result in sorted(results.items(), key=lambda item: item[1]["ms"]):
            refused = str(result["error"]).startswith(("ProgramFileError", "DataError"))
            failed += not refused
            verdict = "refused" if refused else "ACCEPTED"
            print(f"{kind:8} {name:40} {verdict:8} {result['ms']:8.1f} ms {result['mb']:8.1f} MB")
        print(f"{kind}: {len(results)} attacks, {failed} not refused")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
