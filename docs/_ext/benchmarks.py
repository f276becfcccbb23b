"""Tables and plots of results/bench/*.json: blocks of docs/benchmarks.md and figures (`make bench` writes them).

What there is to show is the list in benchmarks/suite.py; a case without a file is left out, so the page can be made
with none, some or all of them.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import results_index  # noqa: E402
from suite import GROWTH, INFERENCE, RESULTS, TRAINING, Case  # noqa: E402  It isn't part of a package.

import gpu  # noqa: E402

Found = list[tuple[Case, dict[str, Any]]]

PAGE = ROOT / "docs" / "benchmarks.md"
STATIC = ROOT / "docs" / "_static"
EXPORTED = ROOT / "results" / "bench-exported"
NONE = "*No case is measured yet.*"
ARMS = ("peers", "unfrozen", "folded", "engine")
COLOURS = {"peers": "#b04a3a", "unfrozen": "#d9a441", "folded": "#6b7f99", "engine": "#2a6f4e"}
STYLE = {
    "svg.hashsalt": "reprogram",  # Else the names of shapes are random, and every drawing is another file.
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def load(cases: Iterable[Case], folder: Path = RESULTS) -> Found:
    """The cases that are measured, with their results."""
    paths = [(case, folder / f"{case.name}.json") for case in cases]
    return [(case, json.loads(path.read_text(encoding="utf-8"))) for case, path in paths if path.exists()]


def growth(folder: Path = RESULTS) -> dict[str, dict[int, dict[str, Any]]]:
    """What grows, with the result at each size."""
    return {
        name: {size: found[0][1] for size, case in row.items() if (found := load([case], folder))}
        for name, row in GROWTH.items()
    }


def times(result: dict[str, Any], arm: str) -> str:
    """Median and quartiles of an arm in milliseconds."""
    if arm not in result["arms"]:
        return "–"
    low, high = result["arms"][arm]["quartiles_s"]
    return f"{_ms(result['arms'][arm]['median_s'])} ({_ms(low)}–{_ms(high)})"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}" if seconds < 0.1 else f"{1000 * seconds:,.0f}"


def ratio(value: float | None) -> str:
    """How many times faster the engine is; bold where it is slower."""
    if value is None:
        return "–"
    return f"{value:.2f}" if value >= 1 else f"**{value:.2f}**"


def memory(result: dict[str, Any], arm: str) -> str:
    """Peak memory of an arm in MiB."""
    value = result["arms"].get(arm, {}).get("peak_memory_bytes")
    return "–" if value is None else f"{value / 2**20:,.0f}"


def table(found: Found) -> str:
    """One row a case, with the command that repeats it."""
    if not found:
        return NONE
    arms = [arm for arm in ARMS if any(arm in result["arms"] for _, result in found)]
    head = ["host", "window", "batch", *(f"{arm}, ms" for arm in arms), "over peers", "over folded"]
    head += ["peers, MiB", "engine, MiB", "command"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for _, result in found:
        cells = [f"`{short(result['host'])}`", result["window"], result["batch"], *(times(result, arm) for arm in arms)]
        cells += [ratio(result["ratio_engine_over_dense"]), ratio(result["ratio_engine_over_folded"])]
        cells += [memory(result, "peers"), memory(result, "engine"), f"`{result['command']}`"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def short(host: str) -> str:
    """A host's spec without the word that its weights are random."""
    return re.sub(r"\?$", "", re.sub(r"pretrained=0&?", "", host)).rstrip("&")


def balance(found: Found) -> str:
    """In how many cases the engine is faster, and where it isn't."""
    measured = [(case, r) for case, r in found if r["ratio_engine_over_dense"] is not None]
    if not measured:
        return NONE
    lines = []
    for key, other in (("ratio_engine_over_dense", "the peers' step"), ("ratio_engine_over_folded", "`folded`")):
        ratios = sorted((r[key], short(r["host"]), r["window"], r["batch"]) for _, r in measured if r[key] is not None)
        if not ratios:
            continue
        slower = [f"`{host}`, window {w}, batch {b}: {value:.2f}" for value, host, w, b in ratios if value < 1]
        least, most = ratios[0], ratios[-1]
        lines.append(
            f"- Against {other}: faster in {len(ratios) - len(slower)} of {len(ratios)} cases, from {least[0]:.2f} "
            f"(`{least[1]}`, window {least[2]}, batch {least[3]}) to {most[0]:.2f} times "
            f"(`{most[1]}`, window {most[2]}, batch {most[3]})."
            + (f" Slower: {'; '.join(slower)}." if slower else " Slower in none.")
        )
    return "\n".join(lines)


def growth_tables(rows: dict[str, dict[int, dict[str, Any]]]) -> str:
    """One table for each thing that grows."""
    tables = []
    for name, row in rows.items():
        if row:
            lines = ["| " + " | ".join([name, *(f"{arm}, ms" for arm in ARMS), "over peers", "command"]) + " |"]
            lines.append("|---" * (len(ARMS) + 3) + "|")
            for size, result in row.items():
                cells = [str(size), *(times(result, arm) for arm in ARMS), ratio(result["ratio_engine_over_dense"])]
                lines.append("| " + " | ".join([*cells, f"`{result['command']}`"]) + " |")
            tables.append("\n".join(lines))
    return "\n\n".join(tables) or NONE


def circumstances(results: list[dict[str, Any]]) -> str:
    """Machines, versions and commits, each with its number of cases."""
    counts: dict[str, int] = {}
    for result in results:
        machine, versions = result["machine"], result["versions"]
        commit = f"`{result['commit'][:12]}`" if result["commit"] else "unknown"
        changed = " with uncommitted changes" if result["uncommitted_changes"] else ""
        text = (
            f"{result['threads']} of {machine['cores']} cores of {machine['processor']}, {machine['system']}, "
            f"Python {versions['python']}, torch {versions['torch']}, torchvision {versions['torchvision']}, "
            f"timm {versions['timm']}, commit {commit}{changed}"
        )
        counts[text] = counts.get(text, 0) + 1
    return "\n".join(f"- {count} cases: {text}" for text, count in counts.items()) or NONE


def gpu_table(folder: Path = gpu.RESULTS) -> str:
    """One row a case on a GPU: images a second of each arm, and how many times faster than the peers' step ours are."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    found.sort(key=lambda result: (gpu.HOSTS.index(result["host"]), result["batch"]))
    if not found:
        return NONE
    arms = gpu.ARMS.split(",")
    head = ["host", "batch", *(f"{arm}, images/s" for arm in arms), "engine over peers", "half over peers"]
    head += ["half over autocast", "command"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for result in found:
        speeds = {arm: result["arms"][arm]["images_per_s"] for arm in arms}
        cells = [f"`{short(result['host'])}`", result["batch"], *(f"{speed:,.0f}" for speed in speeds.values())]
        cells += [ratio(result["ratio_engine_over_dense"]), ratio(result["ratio_half_over_dense"])]
        cells += [ratio(speeds["half"] / speeds["autocast"]), f"`{result['command']}`"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*lines, "", *gpu_circumstances(found)])


def exported_table(folder: Path = EXPORTED) -> str:
    """One row a host: an answer to one image of each arm, and the share of the peers' time that the file takes."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
    found.sort(key=lambda result: result["arms"]["peers"]["median_s"])
    if not found:
        return NONE
    arms = ("peers", "folded", "engine", "exported")
    head = ["host", *(f"{arm}, ms" for arm in arms), "engine / peers", "exported / peers", "command"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for result in found:
        shares = [1 / result[f"ratio_{arm}_over_dense"] for arm in ("engine", "exported")]
        cells = [f"`{short(result['host'])}`", *(times(result, arm) for arm in arms)]
        cells += [*(f"{share:.2f}" for share in shares), f"`{result['command']}`"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*lines, "", circumstances(found)])


def gpu_circumstances(found: list[dict[str, Any]]) -> list[str]:
    """The GPUs and versions, each with its number of cases."""
    counts: dict[str, int] = {}
    for result in found:
        versions = result["versions"]
        text = f"{result['device']}, torch {versions['torch']}, torchvision {versions['torchvision']}"
        counts[text] = counts.get(text, 0) + 1
    return [f"{count} of {len(gpu.HOSTS) * len(gpu.BATCHES)} cases: {text}." for text, count in counts.items()]


def figure(name: str, alt: str, there: bool) -> str:
    """The figure's block; nothing while nothing is drawn."""
    return f"![{alt}](_static/{name})" if there else NONE


def blocks(folder: Path = RESULTS) -> dict[str, str]:
    """Every block of the page, by its name."""
    training, inference, rows = load(TRAINING, folder), load(INFERENCE, folder), growth(folder)
    everything = {case.name: result for case, result in training + inference}
    everything |= {GROWTH[name][size].name: result for name, row in rows.items() for size, result in row.items()}
    return {
        "training balance": balance(training),
        "training figure": figure(
            "bench-training.svg", "How many times faster than the peers' step, by host and window.", bool(training)
        ),
        "training": table(training),
        "inference balance": balance(inference),
        "inference": table(inference),
        "growth figure": figure(
            "bench-growth.svg", "Time of a step of each arm as one size grows.", any(rows.values())
        ),
        "growth": growth_tables(rows),
        "circumstances": circumstances(list(everything.values())),
        "gpu": gpu_table(),
        "exported": exported_table(),
    }


def page(text: str, folder: Path = RESULTS) -> str:
    """The page with its blocks written anew."""
    for name, block in blocks(folder).items():
        start, end = f"<!-- {name}: written by make bench -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(start)
        _, _, after = rest.partition(end)
        text = f"{before}{start}\n\n{block}\n\n{end}{after}"
    return text


def draw_training(axes: Any, found: Found) -> None:
    """Bars: how many times faster than the peers' step, by host and window."""
    hosts = list(dict.fromkeys(case.host for case, _ in found))
    windows = sorted({case.window for case, _ in found})
    height = 0.8 / len(windows)
    for i, window in enumerate(windows):
        rows = [
            (hosts.index(case.host) + (i - (len(windows) - 1) / 2) * height, result["ratio_engine_over_dense"] or 0.0)
            for case, result in found
            if case.window == window
        ]
        shade = ("#2a6f4e", "#6fa98b", "#b9d6c6")[i % 3]
        axes.barh([y for y, _ in rows], [r for _, r in rows], height=height, color=shade, label=f"window {window}")
    axes.axvline(1.0, color="#b04a3a", linewidth=1)
    axes.set_yticks(range(len(hosts)), [short(host) for host in hosts])
    axes.invert_yaxis()
    axes.set_xlabel("times faster than the peers' step; left of the red line: slower")
    axes.legend(frameon=False)


def draw_growth(panels: Any, rows: dict[str, dict[int, dict[str, Any]]]) -> None:
    """A panel for each thing that grows: median time of each arm, quartiles as bars."""
    for axes, (name, row) in zip(panels, rows.items(), strict=True):
        for arm in ARMS:
            there = {size: result["arms"][arm] for size, result in row.items() if arm in result["arms"]}
            middle = [1000 * value["median_s"] for value in there.values()]
            below = [1000 * (value["median_s"] - value["quartiles_s"][0]) for value in there.values()]
            above = [1000 * (value["quartiles_s"][1] - value["median_s"]) for value in there.values()]
            axes.errorbar(list(there), middle, (below, above), marker="o", markersize=3, color=COLOURS[arm], label=arm)
        axes.set_xlabel(name)
        axes.set_ylabel("ms a step")
        axes.set_ylim(bottom=0)
        if name == "classes":
            axes.set_xscale("log")
    panels[0].legend(frameon=False)


def draw(static: Path = STATIC, folder: Path = RESULTS) -> None:
    """Draw the figures; one without data is removed."""
    training, rows = load(TRAINING, folder), growth(folder)
    hosts = len({case.host for case, _ in training})
    _save(
        static / "bench-training.svg", bool(training), (1, 1), 1 + 0.45 * hosts, lambda a: draw_training(a[0], training)
    )
    _save(static / "bench-growth.svg", any(rows.values()), (2, 2), 6.0, lambda a: draw_growth(a, rows))


def _save(path: Path, there: bool, grid: tuple[int, int], height: float, fill: Callable[[Any], None]) -> None:
    """Draw into a file that is the same for the same data: no date, no random names."""
    if not there:
        path.unlink(missing_ok=True)
        return
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        canvas = Figure(figsize=(8, height), layout="constrained")
        fill(list(canvas.subplots(*grid, squeeze=False).flat))
        path.parent.mkdir(parents=True, exist_ok=True)
        canvas.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    draw()
    results_index.write(RESULTS)
