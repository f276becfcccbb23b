"""The page of what each defence costs an attacker, from results/defences; `benchmarks/defences.py` measures."""

import csv
import statistics
from pathlib import Path
from typing import Any

import kept

FOLDER = kept.RESULTS / "defences"
RUNGS = {
    "weights": "The attacker has the weights",
    "scores": "The attacker only asks, and is shown all scores, or what the defence leaves of them",
    "label": "The attacker only asks, and is shown the first label",
}
HEAD = ["defence", "static", "knows it", "gain left", "best attacker", "images to 50 %", "to 90 %", "seeds"]
LEAST_GAIN = 0.2
"""Gains below are too near to the standard error of a validation of 100 images."""

SMALLEST_GAIN = 0.1
"""Of smaller gains of the bare host no part is told: they are too near to the standard error of a test."""

SHOW_LESS = {"rounding", "top-k", "label-only", "noise", "temperature"}
"""Defences that change nothing but the numbers that are shown."""

Line = dict[str, str]

INTRO = """\
Accuracy on the test images, mean over the seeds. *Static*: the program was learned on the bare host, and tested behind
the defence. *Knows it*: learned behind the defence; where several such attackers were tried, the best one by its mean
test accuracy, and what the others cost isn't counted. *Gain left*: the better one's accuracy above that of the label
map without a program, or above guessing where that is more, as a part of the same gain on the bare host. *Images to
50 %*: how many images the attacker who knows the defence asked for until a validation first showed half of the bare
host's gain, as a multiple of the bare host's images to it; the median of the seeds. A validation of 100 images has a
standard error of up to .05, and comes after each twentieth or tenth of a run, so that a multiple of 1.3 may be chance.
*More than* is said where most seeds didn't come to it within their budget: the multiple is at least that. Seeds whose
bare host never came to it are left out, and where the bare host gains less than .2 no validation can tell (–). Of a
gain below .1 no part is told either. Where the attacker only asks, what he gets behind a defence that shows less he
gets on the bare host too, since he can leave out himself what it leaves out: the bare host's line is his best one.
"""


def page() -> str:
    """The documentation's page."""
    lines = ["# What defences cost an attacker", ""]
    plans = [path for path in sorted(FOLDER.glob("*.toml")) if path.with_suffix(".csv").exists()]
    if not plans:
        return "\n".join([*lines, "*Nothing is measured yet.*", ""])
    counts = {int(run["n"]) for plan in plans for run in read(plan.with_suffix(".csv"))}
    lines += [INTRO, certainty(counts), "", "{doc}`../defences` says what the attackers do, and what follows.", ""]
    for plan in plans:
        runs = read(plan.with_suffix(".csv"))
        comment = [line[1:].strip() for line in plan.read_text(encoding="utf-8").splitlines() if line[:1] == "#"]
        lines += [f"## {runs[0]['host']}, `{runs[0]['task']}`", "", comment[0].partition(" From the project")[0], ""]
        for rung, title in RUNGS.items():
            here = [run for run in runs if run["rung"] == rung]
            if any(not run["defence"] for run in here):
                lines += [f"### {title}: {runs[0]['host']}", "", kept.table(HEAD, rows(here)), ""]
        hosts = plan.with_suffix(".hosts.csv")
        if hosts.exists():
            lines += [f"### What it costs the operator: {runs[0]['host']}", "", costs(read(hosts)), ""]
        lines += [f"    {line.strip()}" for line in comment if line.startswith("python")]
        lines += ["", f"Each run has its command in `results/defences/{plan.with_suffix('.csv').name}`.", ""]
    return "\n".join(lines)


def certainty(counts: set[int]) -> str:
    """The largest standard error of a test accuracy on each of these numbers of test images."""
    errors = [f"{0.5 / n**0.5:.3f}".removeprefix("0") + f" (n = {n:,})" for n in sorted(counts)]
    return f"A test accuracy of one run has a standard error of {' or '.join(errors)} at the most."


def read(path: Path) -> list[Line]:
    """The lines of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rows(runs: list[Line]) -> list[list[str]]:
    """A row for the bare host, and one for each defence that an attacker who knows it was tried on."""
    bare = bare_runs(runs)
    adaptive = [run for run in runs if run["attacker"] != "static" and run["seed"] in bare]
    defences = [name for name in dict.fromkeys(run["defence"] for run in adaptive) if name]
    of = {"": list(bare.values()), **{name: [run for run in runs if run["defence"] == name] for name in defences}}
    return [row(name, lines, bare) for name, lines in of.items()]


def bare_runs(runs: list[Line]) -> dict[str, Line]:
    """The runs on the bare host by their seeds: the best attacker's, by his mean.

    Who only asks can make of the bare host's answers himself what a defence shows of them that shows less: so what he
    gets behind such a defence he gets on the bare host too.
    """
    alike = [run for run in runs if not run["defence"] or (run["rung"] != "weights" and shows_less(run["defence"]))]
    seeds = {run["seed"] for run in runs if not run["defence"]}
    found: dict[tuple[str, str], dict[str, Line]] = {}
    for run in alike:
        if run["attacker"] != "static" and run["seed"] in seeds:
            found.setdefault((run["defence"], run["attacker"]), {})[run["seed"]] = run
    whole = {key: lines for key, lines in found.items() if lines.keys() == seeds}
    best = max(whole, key=lambda key: (statistics.mean(accuracies(whole[key])), not key[0]))
    return {seed: {**line, "defence": ""} for seed, line in whole[best].items()}


def shows_less(defence: str) -> bool:
    """Whether all that a defence does is to show less of the numbers."""
    return all(part.partition("(")[0] in SHOW_LESS for part in defence.split("+"))


def row(defence: str, runs: list[Line], bare: dict[str, Line]) -> list[str]:
    """A line of the table."""
    found: dict[str, dict[str, Line]] = {}
    for run in runs:
        if run["seed"] in bare:
            found.setdefault(run["attacker"], {})[run["seed"]] = run
    reached_by = {name: statistics.mean(accuracies(lines)) for name, lines in found.items()}
    static = accuracies(found.pop("static", {}))
    name = f"`{defence}`" if defence else "none"
    knowing = max(found, key=lambda attacker: reached_by[attacker])
    best = max(reached_by, key=lambda attacker: (reached_by[attacker], attacker == knowing))
    pairs = [(run, bare[seed]) for seed, run in found[knowing].items()]
    without = statistics.mean(floor(run) for run, _ in pairs)
    had = statistics.mean(gain(run) for _, run in pairs)
    left = f"{100 * (reached_by[best] - without) / had:.0f} %" if had >= SMALLEST_GAIN else "–"
    times = [cost(pairs, part) if defence else "1" for part in (0.5, 0.9)]
    means = mean(static), mean(accuracies(found[knowing]))
    return [name, *means, left, f"`{best}`", *times, str(len(pairs))]


def accuracies(lines: dict[str, Line]) -> list[float]:
    """The test accuracies of runs."""
    return [float(line["accuracy"]) for line in lines.values()]


def by_seed(runs: list[Line]) -> dict[str, Line]:
    """Runs of one attacker by their seeds."""
    return {run["seed"]: run for run in runs}


def mean(values: list[float]) -> str:
    """The mean, with the lowest and the highest where there are several."""
    if not values:
        return "–"
    ends = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{ends}"


def floor(run: Line) -> float:
    """What is had without a program: the label map alone, or guessing among ten classes."""
    return max(float(run["alone"]), 0.1)


def gain(run: Line) -> float:
    """The accuracy above that."""
    return float(run["accuracy"]) - floor(run)


def cost(pairs: list[tuple[Line, Line]], part: float) -> str:
    """How many times more images, the median of the seeds whose bare host came to it if any; none without learning."""
    if not any(int(run["images"]) for run, _ in pairs):
        return "–"
    ratios: list[tuple[float, bool]] = []
    for run, bare in pairs:
        wanted = floor(bare) + part * gain(bare)
        before, after = reached(bare, wanted), reached(run, wanted)
        if before is not None:
            ratios.append(((after or int(run["images"])) / before, after is not None))
    if not ratios or statistics.mean(gain(bare) for _, bare in pairs) < LEAST_GAIN:
        return "–"
    ratios.sort(key=lambda ratio: (not ratio[1], ratio[0]))
    middle, there = ratios[len(ratios) // 2]
    return f"{middle:.1f}" if there else f"more than {middle:.1f}"


def reached(run: Line, wanted: float) -> int | None:
    """The images at the first validation of this accuracy."""
    points = (point.split(":") for point in run["curve"].split())
    return next((max(int(images), 1) for images, accuracy in points if float(accuracy) >= wanted), None)


def costs(lines: list[Line]) -> str:
    """Accuracy on the host's own images and latency."""
    bare = next(line for line in lines if not line["defence"])
    rows: list[list[Any]] = []
    for line in lines:
        right, lost = int(line["right"]), int(bare["right"]) - int(line["right"])
        added = float(line["defended_ms"]) - float(line["bare_ms"])
        name = f"`{line['defence']}`" if line["defence"] else "none"
        rows.append(
            [name, f"{right / int(line['n']):.3f}", f"{100 * lost / int(line['n']):+.1f}", f"{max(added, 0):.2f}"]
        )
    head = ["defence", f"top-1 of {bare['n']} own images", "points lost", f"ms added to {float(bare['bare_ms']):.1f}"]
    return kept.table(head, rows)
