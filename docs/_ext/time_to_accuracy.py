"""The page on time to accuracy, from results/time-to-accuracy (benchmarks/time_to_accuracy.py writes it)."""

import json
from typing import Any

import kept

HEAD = [
    "host",
    "recipe",
    "program",
    "label map",
    "batch",
    "images to it",
    "ms an image",
    "seconds to it",
    "best validation",
    "test accuracy",
]


def page() -> str:
    """The documentation's page."""
    paths = sorted((kept.RESULTS / "time-to-accuracy").glob("*.json"))
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    lines = ["# Time to accuracy", ""]
    if not found:
        return "\n".join([*lines, "*Nothing is measured yet.*", ""])
    first = found[0]
    lines += [
        f"Task `{first['task']}`, validation accuracy {first['accuracy']:.2f} (n = {first['num_validation']:,}),",
        f"{first['threads']} thread, one seed. *Images to it* are those seen when a look at the validation split first",
        "found that accuracy; they don't depend on the machine. *ms an image* is the median of what a learning step",
        "costs, all arms interleaved on a machine that did nothing else: for `best` (and the same without a program,",
        "which is the label map alone) our own learning, for a peer's recipe the peers' dense step",
        "({doc}`../benchmarks`). *Seconds* are their product, with the images that our label map is fitted to before",
        "the first step; neither side is charged for validation, nor the peers for the extra pass that refits their",
        "label map. ≥ means that the budget ended first.",
        "",
        "    reprogram sweep results/time-to-accuracy/grid.toml --out runs/time --workers 1 --threads 1",
        "    python benchmarks/time_to_accuracy.py runs/time",
        "",
        kept.table(HEAD, [row(one) for one in sorted(found, key=order)]),
        "",
        *ratios(found),
        "",
        f"{kept.circumstances(found)}.",
        "",
    ]
    return "\n".join(lines)


def order(one: dict[str, Any]) -> tuple[str, float]:
    """By host, the quickest first."""
    return one["host"], one["seconds_to_accuracy"] or one["seconds_of_budget"] * 1e6


def name_of(one: dict[str, Any]) -> str:
    """The host without its options."""
    return str(one["host"]).partition("?")[0].rpartition("/")[2].removesuffix(".safetensors")


def row(one: dict[str, Any]) -> list[str]:
    """A line of the table."""
    ours = one["recipe"] in ("best", None)
    images, seconds = one["images_to_accuracy"], one["seconds_to_accuracy"]
    test = one["test"]
    return [
        f"`{name_of(one)}`",
        one["recipe"] or "–",
        one["program"],
        one["label_map"],
        str(one["batch_size"]),
        f"{images:,}" if images else f"≥ {one['budget_images']:,}",
        f"{one['learning_ms' if ours else 'peers_ms']:.1f}",
        f"{seconds:,.0f}" if seconds else f"≥ {one['seconds_of_budget']:,.0f}",
        f"{max(accuracy for _, accuracy in one['history']):.3f}",
        f"{test['accuracy']:.4f} ({test['interval'][0]:.3f} to {test['interval'][1]:.3f}, n = {test['n']:,})",
    ]


def ratios(found: list[dict[str, Any]]) -> list[str]:
    """How many times faster `best` is, a line a host and recipe; by the dense step that was measured beside it."""
    lines = []
    for best in (one for one in found if one["recipe"] == "best" and one["seconds_to_accuracy"]):
        for other in found:
            if other["host"] == best["host"] and other["recipe"] not in ("best", None):
                reached = other["seconds_to_accuracy"]
                images = other["images_to_accuracy"] or other["budget_images"]
                ratio = images * best["peers_ms"] / 1000 / best["seconds_to_accuracy"]
                lines.append(
                    f"- `{name_of(best)}`: `best` is {'' if reached else 'more than '}{ratio:.0f} times faster than "
                    f"`{other['recipe']}` on the peers' step, {best['peers_ms']:.1f} ms an image beside it."
                )
    return lines
