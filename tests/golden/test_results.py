"""The README's numbers are those of results/, and each of these follows the schema."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "results").glob("*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_stored_results_follow_the_schema(path: Path) -> None:
    schema = json.loads((ROOT / "src/reprogram/runs/result.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), schema)


def test_the_readme_shows_the_stored_results(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'docs/_ext')!r}); import results; from pathlib import Path; "
        f"text = Path({str(ROOT / 'README.md')!r}).read_text(encoding='utf-8'); sys.exit(results.readme(text) != text)"
    )
    assert RESULTS
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_page_of_detectors_shows_the_stored_results() -> None:
    """Also that every stored file names the command that made it."""
    script = ROOT / "docs/_ext/detectors.py"
    assert subprocess.run([sys.executable, str(script), "--check"], check=False).returncode == 0, "run make results"
    for path in (ROOT / "results/detectors").glob("*.json"):
        stored = json.loads(path.read_text(encoding="utf-8"))
        assert stored["command"].startswith("python benchmarks/detectors.py") and stored["rates"]["0.001"]["attacks"]
