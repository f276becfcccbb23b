"""The table of results/*.json: a page of the documentation, and a block of the README (`make results` writes it)."""

import json
from pathlib import Path
from typing import Any

import kept

ROOT = Path(__file__).parents[2]
START, END = "<!-- results: written by make results -->", "<!-- end of results -->"
HEAD = (
    "task",
    "host",
    "test accuracy",
    "by the top label alone",
    "label map alone",
    "worth of the program",
    "all scores, no program",
    "n",
    "95 % interval",
    "seed",
    "chance",
)


def load(folder: Path = ROOT / "results") -> list[dict[str, Any]]:
    """Every stored result, by file name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def table(results: list[dict[str, Any]]) -> str:
    """One row a result."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    for result in results:
        test, baselines = result["test"], result["baselines"]
        low, high = test["interval"]
        alone, scores = (baselines.get(name) for name in ("map_alone", "all_scores"))
        cells = [result["task"], result["host"], f"**{test['accuracy']:.3f}**", kept.top_label(result)]
        cells += [_share(alone), kept.worth(result), _share(scores), test["n"], f"{low:.3f} to {high:.3f}"]
        cells += [result["seed"], _share(baselines["chance"])]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _share(measured: dict[str, Any] | None) -> str:
    return "–" if measured is None else f"{measured['accuracy']:.3f}"


def provenance(results: list[dict[str, Any]]) -> str:
    """Where the rows come from: command, budget, machine and versions."""
    lines = []
    for result in results:
        machine, versions = result["machine"], result["versions"]
        threads = "one thread on" if result["threads"] == 1 else f"{result['threads']} threads on"
        lines.append(
            f"- {result['task']}: `{result['command']}`, {result['images_seen']:,} training images in "
            f"{result['seconds']:.0f} s, {threads} {machine['processor']}, "
            f"torch {versions['torch']}, timm {versions['timm']}"
        )
    return "\n".join(lines)


def page() -> str:
    """The documentation's page."""
    results = load()
    intro = (
        "Each row is a file in `results/`, in the schema of {doc}`../result-schema`, and this page is made from them. "
        "`results/README.md` says what its folders hold; each has an `index.csv` with a line for every stored run. "
        "*By the top label alone*: what the host names first, and nothing else of its answer, is read. *Worth*: the "
        "accuracy minus that of the label map alone on the same test images, with Tango's 95 % interval. *All scores, "
        "no program*: a discriminant of all the host's scores. {doc}`../evidence` describes them; a dash means that "
        "the result is older, or that it wasn't measured."
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
