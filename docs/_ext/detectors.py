"""The tables of docs/detectors.md, from results/detectors and results/hiding: `python docs/_ext/detectors.py`."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import kept

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "detectors.md"
RESULTS = ROOT / "results" / "detectors"
NONE = "*Nothing is measured yet.*"

Result = dict[str, Any]


def load(folder: Path = RESULTS) -> list[Result]:
    """All results, by detector."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def table(head: list[str], rows: list[list[Any]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) if rows else NONE


def first(attack: Result) -> str:
    """The first alarms of an attack's streams: the earliest and the latest, and in how many there was none."""
    found = sorted(f for f in attack["first_alarm"] if f is not None)
    missed = len(attack["first_alarm"]) - len(found)
    if not found:
        return "never"
    text = str(found[0]) if found[0] == found[-1] else f"{found[0]}–{found[-1]}"
    return f"{text}, or never ({missed} of {len(attack['first_alarm'])})" if missed else text


def false_alarms(at: Result) -> str:
    """The share of other benign queries, and the worst kind."""
    kinds = {kind: share for kind, share in at["by_kind"].items() if kind != "screens" and share}
    worst = max(kinds, key=lambda kind: kinds[kind]) if kinds else ""
    return f"{100 * at['false_positives']:.2f} %" + (f" ({worst} {100 * kinds[worst]:.1f} %)" if worst else "")


def overview(results: list[Result]) -> str:
    """Costs, thresholds and what becomes of static programs and of honest users."""
    rows = []
    for one in results:
        for rate in ("0.001", "0.01", "usual"):
            if rate not in one["rates"]:
                continue
            at = one["rates"][rate]
            static = [a for name, a in at["attacks"].items() if name.startswith("static") and "mixed" not in name]
            alarms = {
                "first_alarm": [f for a in static for f in a["first_alarm"]],
            }
            share = sum(a["true_positives"] for a in static) / len(static)
            rows.append(
                [
                    f"`{one['detector']}`",
                    "its own" if rate == "usual" else f"{100 * float(rate):g} %",
                    f"{at['threshold']:.3g}",
                    false_alarms(at),
                    f"{100 * at['by_kind'].get('screens', 0):.0f} %",
                    f"{100 * share:.0f} %",
                    first(alarms),
                ]
            )
    head = ["detector", "threshold set at", "threshold", "false alarms on other benign traffic", "on screens"]
    return table([*head, "true alarms, static", "first alarm, static"], rows)


def costs(results: list[Result]) -> str:
    """Time and memory."""
    rows = []
    for one in results:
        cost = one["cost"]
        bytes_each = cost["bytes_an_account"]
        rows.append(
            [
                f"`{one['detector']}`",
                one["reads"],
                f"{cost['us_a_query']:,.0f}",
                f"{bytes_each:,}",
                f"{bytes_each * 10_000 / 2**20:,.0f}",
            ]
        )
    return table(
        ["detector", "reads", "µs a query", "bytes an account", "MiB of a million queries of 10,000 accounts"], rows
    )


def attacks(results: list[Result], rate: str = "0.001") -> str:
    """The first alarm of each attack at a threshold, and the accounts that an attacker needs."""
    results = [one for one in results if rate in one["rates"]]
    blocks = []
    for reads in ("image", "answers"):
        some = [one for one in results if (one["reads"] == "image") == (reads == "image")]
        names = list(dict.fromkeys(name for one in some for name in one["rates"][rate]["attacks"]))
        if not some:
            continue
        rows = []
        for name in names:
            cells: list[Any] = [name]
            for one in some:
                attack = one["rates"][rate]["attacks"].get(name)
                cells.append("–" if attack is None else _cell(attack, one["goal"]))
            rows.append(cells)
        blocks.append(table(["attack", *(f"`{one['detector']}`" for one in some)], rows))
    return "\n\n".join(blocks) or NONE


def _cell(attack: Result, goal: int) -> str:
    needed = attack["accounts_needed"]
    if first(attack) == "never":
        return "never; 1"
    return f"{first(attack)}; {goal:,} or more" if needed is None else f"{first(attack)}; {needed:,}"


def circumstances(results: list[Result]) -> str:
    """On what and how it was measured."""
    if not results:
        return NONE
    lines = []
    for command in dict.fromkeys(one["command"] for one in results):
        own = [one for one in results if one["command"] == command]
        benign = sorted({(one["benign"]["calibrated"], one["benign"]["tested"]) for one in own})
        counts = "; ".join(f"{a:,} benign queries set the threshold, {b:,} others tested it" for a, b in benign)
        number = own[0]["seeds"]
        streams = f"{number} stream{'s' * (number > 1)} of {own[0]['queries_of_a_stream']} queries an attack"
        if own[0]["reads"] == "image":
            streams += f", whole runs have up to {own[0]['queries_of_a_run']}"
        lines.append(f"- `{command}`: {counts}; {streams}; {own[0]['machine']['processor']}")
        lines += [f"  and `{added}`, at the same thresholds" for added in own[0].get("added", [])]
        if "learned" in own[0]:
            reached = ", ".join(f"{name} {reached_by(own[0], name)}" for name in own[0]["learned"])
            lines.append(f"  (programs for `{own[0]['task']}` of {own[0]['images']:,} training images each; mean test")
            lines.append(f"  accuracy: {reached})")
    return "\n".join(lines)


def hiding(runs: list[kept.Run]) -> str:
    """What programs reach that look different on every image, beside those that stand still; the best first."""
    rows = []
    for config, result in sorted(runs, key=lambda run: -run[1]["test"]["accuracy"]):
        test = result["test"]
        low, high = test["interval"]
        rows.append(
            [
                f"`{config['program']}`",
                f"**{test['accuracy']:.3f}**",
                f"{low:.3f} to {high:.3f}",
                test["n"],
                result["seed"],
                kept.worth(result),
            ]
        )
    head = ["program", "test accuracy", "95 % interval", "n", "seed", "worth"]
    return f"{table(head, rows)}\n\n{kept.circumstances([result for _, result in runs])}." if rows else NONE


def reached_by(result: Result, program: str) -> str:
    """The mean accuracy of a learned program's seeds."""
    values = result["learned"][program]["accuracy"]
    return f"{sum(values) / len(values):.3f}"


def evading(results: list[Result]) -> str:
    """Detectors of answers: the plain program, and those of an attacker who knows the detector."""
    rows = []
    for one in results:
        if "learned" not in one:
            continue
        name = one["detector"].partition("(")[0]
        knowing = [attack for attack in one["learned"] if attack.startswith(f"evading {name},")]
        remembers = ["static, mixed"] if one["cost"]["bytes_an_account"] else []
        for attack in ("static", *knowing, *(["evading all"] if knowing else []), *remembers):
            says = {"static": "nothing: the plain program", "static, mixed": "a photograph after each query"}
            says["evading all"] = "all detectors' scores in the loss"
            adds = says.get(attack, f"the score in the loss, {attack.rpartition(', ')[2]}")
            alarms = [one["rates"][rate]["attacks"][attack]["true_positives"] for rate in ("0.001", "0.01")]
            accuracy = reached_by(one, "static" if attack == "static, mixed" else attack)
            rows.append([f"`{one['detector']}`", adds, accuracy, *(f"{100 * share:.1f} %" for share in alarms)])
    return table(["detector", "the attacker adds", "accuracy", "true alarms at 0.1 %", "at 1 %"], rows)


def page(text: str) -> str:
    """The page with every block written anew."""
    results = load()
    blocks = {
        "overview": overview(results),
        "costs": costs(results),
        "attacks": attacks(results),
        "attacks at 1 %": attacks(results, "0.01"),
        "attacks at own thresholds": attacks([one for one in results if one["reads"] == "image"], "usual"),
        "evading": evading(results),
        "circumstances": circumstances(results),
        "hiding": hiding(kept.load("hiding")),
    }
    for name, block in blocks.items():
        begin, end = f"<!-- {name}: written by make results -->", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.S)
        text = pattern.sub(lambda _, b=begin, e=end, t=block: f"{b}\n\n{t}\n\n{e}", text)
    return text


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(page(PAGE.read_text(encoding="utf-8")) != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
