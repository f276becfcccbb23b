"""The table of results/*.json: a page of the documentation, and a block of the README (`make results` writes it)."""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
START, END = "<!-- results: written by make results -->", "<!-- end of results -->"
HEAD = ("task", "host", "test accuracy", "n", "95 % interval", "seed", "chance", "label map alone", "linear probe")


def load(folder: Path = ROOT / "results") -> list[dict[str, Any]]:
    """Every stored result, by file name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def table(results: list[dict[str, Any]]) -> str:
    """One row a result."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    for result in results:
        test, baselines = result["test"], result["baselines"]
        low, high = test["interval"]
        cells = [result["task"], result["host"], f"**{test['accuracy']:.3f}**", test["n"], f"{low:.3f} to {high:.3f}"]
        cells += [result["seed"], f"{baselines['chance']['accuracy']:.3f}"]
        cells += [
            f"{baselines[name]['accuracy']:.3f}" if name in baselines else "–" for name in ("map_alone", "linear_probe")
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def provenance(results: list[dict[str, Any]]) -> str:
    """Where the rows come from: command, budget, machine and versions."""
    lines = []
    for result in results:
        machine, versions = result["machine"], result["versions"]
        lines.append(
            f"- {result['task']}: `{result['command']}`, {result['images_seen']:,} training images in "
            f"{result['seconds']:.0f} s, {result['threads']} threads on {machine['processor']}, "
            f"torch {versions['torch']}, timm {versions['timm']}"
        )
    return "\n".join(lines)


def page() -> str:
    """The documentation's page."""
    results = load()
    intro = (
        "Each row is a file in `results/`, in the schema of {doc}`../result-schema`, and this page is made from them. "
        "`results/README.md` says what its folders hold; each has an `index.csv` with a line for every stored run."
    )
    return f"# Results\n\n{intro}\n\n{table(results)}\n\n{provenance(results)}\n"


def readme(text: str) -> str:
    """The README with its block written anew."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    results = load()
    return f"{before}{START}\n{table(results)}\n\n{provenance(results)}\n{END}{after}"


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(readme(path.read_text(encoding="utf-8")), encoding="utf-8")
