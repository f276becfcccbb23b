"""The table of docs/serving.md, from results/serving: `make results` writes it into the page."""

import json
import re
from pathlib import Path
from typing import Any

import kept

PAGE = Path(__file__).parents[1] / "serving.md"
STORED = Path(__file__).parents[2] / "results" / "serving"
BEGIN, END = "<!-- measured: written by make results -->", "<!-- end of measured -->"


def measured() -> str:
    """A line for each thing that was measured."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(STORED.glob("*.json"))}
    rows = [row for name, one in found.items() for row in READ[name](one)]
    machines = sorted({f"{one['machine']['cpu']}, {one['machine']['cores']} cores" for one in found.values()})
    shown = kept.table(["question", "measured", "threads", "command"], rows)
    return f"{shown}\n\n{'; '.join(machines)}; server and clients share them."


def _row(one: dict[str, Any], question: str, answer: str) -> list[Any]:
    return [question, answer, one["threads"], f"`{one['command']}`"]


def _load(one: dict[str, Any]) -> list[list[Any]]:
    memory = one.get("memory_mib") or [one["memory_before"] / 2**20, one["memory_after"] / 2**20]
    return [
        _row(
            one,
            f"answers to {one['requests']:,} requests ({one['images']:,} images) of {one['clients']} clients",
            f"{one['wrong_answers']} wrong, {one['status_5xx']} of status 5xx, in {one['seconds'] / 60:.0f} minutes",
        ),
        _row(one, "memory in that time", f"{min(memory):,.0f} to {max(memory):,.0f} MiB"),
    ]


def _throughput(one: dict[str, Any]) -> list[list[Any]]:
    return [
        _row(
            one,
            f"images a second of `{row['model']}` at batch {row['batch']}, over the bare model's",
            f"{row['ratio']:.2f}",
        )
        for row in one["rows"]
    ]


def _latency(one: dict[str, Any]) -> list[list[Any]]:
    rows = one["rows"]
    p50 = sorted(1e3 * row["p50_s"] for row in rows)[len(rows) // 2]
    p99 = sorted(1e3 * row["p99_s"] for row in rows)[len(rows) // 2]
    bare = sorted(1e3 * row["bare_median_s"] for row in rows)[len(rows) // 2]
    return [
        _row(one, "milliseconds of one image at half of the most requests, p50 and p99", f"{p50:.0f} and {p99:.0f}"),
        _row(one, "the bare model's milliseconds, p50; p99 over it", f"{bare:.1f}; {one['p99_to_bare_median']:.1f}"),
    ]


def _stop(one: dict[str, Any]) -> list[list[Any]]:
    lost = sum(count for words, count in one["outcomes"].items() if "lost" in words or "wrong" in words)
    return [
        _row(one, f"requests lost in {one['times']} stops under load", f"{lost} of {sum(one['outcomes'].values())}")
    ]


READ = {"load": _load, "throughput": _throughput, "latency": _latency, "stop": _stop}
"""How the file of each command is read."""


def written(text: str) -> str:
    """The page with its table written anew."""
    pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
    text, count = re.subn(pattern, lambda _: f"{BEGIN}\n\n{measured()}\n\n{END}", text, flags=re.S)
    assert count == 1, f"{PAGE.name} has no table"
    return text


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
