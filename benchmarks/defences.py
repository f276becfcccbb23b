"""What each defence costs an attacker: runs of a plan, each a line of a table, which a later call goes on with.

    python benchmarks/defences.py runs results/defences/PLAN.toml      learns and tests every cell that isn't there yet
    python benchmarks/defences.py hosts results/defences/PLAN.toml     accuracy on the host's own images, and latency

Lines go to PLAN.csv and PLAN.hosts.csv beside the plan. `command` of a line is what repeats it alone; a static
attacker's program is learned on the bare host by the command of the line without a defence, and tested on the defended
one by `reprogram evaluate`. With `--seeds` and `--out` rows are run again with others and kept elsewhere. A curve has
points "images:accuracy" of the validations, the host's images being those that the attacker paid for until then.

Of an attacker's options, `static` is a program that was learned on the bare host, `times` how often the host is asked
about each image while the program is learned, and `asked` how often when it is tested.
"""

import argparse
import csv
import json
import shlex
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError

import reprogram
from reprogram.evaluation.baselines.map_alone import label_map_alone
from reprogram.hosts.defended import split
from reprogram.registry import configure
from reprogram.runs.config import RunConfig
from reprogram.utils.messages import expected, nearest
from reprogram.utils.photographs import photograph
from reprogram.utils.process import start_torch
from reprogram.utils.spec import parse
from reprogram.utils.toml import read_table

COLUMNS = ("host", "task", "rung", "defence", "attacker", "seed", "accuracy", "n", "alone", "images", "seconds")
COLUMNS += ("curve", "command")
OWN = ("only", "times", "asked", "static")
"""Options of an attacker that aren't those of learning."""


PLAN: dict[str, Any] = {
    "name": str,
    "host": str,
    "own": str,
    "task": str,
    "programs": str,
    "seeds": list[int],
    "static": dict[str, str],
    "options": dict[str, Any],
    "defences": list[str],
    "instead": list[str],
    "rungs": dict[Literal["weights", "scores", "label"], dict[str, dict[str, Any]]],
}
"""What a plan's file holds: a host, a task, attackers by rung, and the static one of each; `instead`, hosts that stand
in the place of this one, may be missing."""


def read_plan(path: Path) -> dict[str, Any]:
    """A plan, if everything in it has a known name and the right type.

    Raises:
        ConfigError: it hasn't.
    """
    plan = read_table(path, "give a plan, such as those in results/defences")
    for name in [*plan, *(name for name in PLAN if name != "instead")]:
        if name not in PLAN or name not in plan:
            raise reprogram.ConfigError(f"{path}: {name} is {'missing' if name in PLAN else 'no part of a plan'}")
        try:
            TypeAdapter(PLAN[name]).validate_python(plan[name], strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, (name, *first["loc"])))
            raise reprogram.ConfigError(f"{path}: {where}: {expected(first)}") from None
    for by in plan["defences"]:
        for part in split(by):
            configure("defences", part)
    for rung, attackers in plan["rungs"].items():
        if plan["static"].get(rung) not in attackers:
            raise reprogram.ConfigError(f"{path}: static.{rung}: give one of {', '.join(attackers)}")
        for name, attacker in attackers.items():
            _check_attacker(f"{path}: rungs.{rung}.{name}", {**plan["options"], **attacker}, plan)
    return plan


def _check_attacker(where: str, attacker: dict[str, Any], plan: dict[str, Any]) -> None:
    """Refuse unknown options and defences of an attacker."""
    known = [*OWN, *(field.name for field in fields(RunConfig))]
    for key in attacker:
        if key not in known:
            raise reprogram.ConfigError(f"{where}: no option {key!r}; {nearest(key, known)}")
    for by in attacker.get("only", []):
        if by not in ("", *plan["defences"], *plan.get("instead", [])):
            raise reprogram.ConfigError(f"{where}: only names {by!r}, which is no defence of the plan")


def cells(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every cell of a plan: a host, a rung, a defence, an attacker and a seed; the bare host first."""
    for seed in plan["seeds"]:
        for rung, attackers in plan["rungs"].items():
            for defence in ("", *plan["defences"], *plan.get("instead", [])):
                if defence in plan["defences"] and not applies(rung, defence):
                    continue
                chosen = {"static": {}} if defence else {}
                for name, attacker in attackers.items():
                    only = attacker.get("only")
                    if only is None or defence in only:
                        chosen[name] = attacker
                for name, attacker in chosen.items():
                    yield {"rung": rung, "defence": defence, "attacker": name, "options": attacker, "seed": seed}


def applies(rung: str, defence: str) -> bool:
    """Whether a defence makes a difference on a rung: shown numbers mean nothing where the weights or labels are."""
    shown = {"top-k": ("scores",), "label-only": ("scores",), "rounding": ("weights", "scores")}
    shown |= {"noise": ("weights", "scores"), "temperature": ("weights", "scores")}
    return all(rung in shown.get(parse(part).name, (rung,)) for part in split(defence))


def behind(plan: dict[str, Any], by: str) -> str:
    """The spec of the host behind a defence, or of the one that stands in its place."""
    if by in plan.get("instead", []):
        return by.replace("HOST", plan["host"])
    return f"defended:({plan['host']})?by={by}" if by else str(plan["host"])


def host_spec(plan: dict[str, Any], cell: dict[str, Any], by: str) -> str:
    """The spec of the host that an attacker asks."""
    spec = behind(plan, by)
    access = {"weights": "", "scores": "scores", "label": "label"}[cell["rung"]]
    spec = f"restricted:({spec})?access={access}" if access else spec
    times = cell["options"].get("times")
    return f"averaged:({spec})?times={times}" if times else spec


def averaged(spec: str, cell: dict[str, Any]) -> str:
    """The spec of the host on which a program is tested: asked so often as when it was learned, or as `asked` says."""
    times = cell["options"].get("asked", cell["options"].get("times"))
    return f"averaged:({spec})?times={times}" if times else spec


def flags(options: dict[str, Any]) -> list[str]:
    """Options of a configuration as those of the command line."""
    return [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]


class Table:
    """A file of lines, each of which is written when it is known."""

    def __init__(self, path: Path, columns: tuple[str, ...]) -> None:
        self.path, self.columns, self.lines = path, columns, []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                self.lines = list(csv.DictReader(file))

    def has(self, **key: Any) -> bool:
        """Whether a line has these values."""
        return any(all(line[name] == str(value) for name, value in key.items()) for line in self.lines)

    def add(self, line: dict[str, Any]) -> None:
        """Write one more line."""
        self.lines.append({name: str(line.get(name, "")) for name in self.columns})
        text = self.path.with_suffix(".part")
        with text.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.lines)
        text.replace(self.path)


def learn(plan: dict[str, Any], cell: dict[str, Any], programs: Path) -> dict[str, Any]:
    """Run one cell, and keep the program where the host is bare."""
    options = {**plan["options"], **plan["rungs"][cell["rung"]][plan["static"][cell["rung"]]]}
    options = {**options, **cell["options"]}
    options = {name: value for name, value in options.items() if name not in OWN}
    is_static = cell["attacker"] == "static" or "static" in cell["options"]
    parts = {name: options.pop(name) for name in ("program", "label_map", "canvas") if name in options}
    task = reprogram.load_task(plan["task"])
    kept = programs / f"{cell['rung']}-{plan['static'][cell['rung']]}-{cell['seed']}.safetensors"
    spec = host_spec(plan, {**cell, "options": {}} if is_static else cell, cell["defence"])
    last = averaged(spec if is_static else host_spec(plan, {**cell, "options": {}}, cell["defence"]), cell)
    host, start = reprogram.load_host(spec), time.perf_counter()
    command = ["reprogram", "fit", "--task", plan["task"], "--host", spec, *flags(parts | options)]
    command += ["--seed", str(cell["seed"])]
    curve: list[str] = []
    if is_static:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # A host in the place of another has other weights.
            model = reprogram.load(kept, host=host, any_host=True)
        command, images = ["reprogram", "evaluate", kept.name, "--task", plan["task"], "--host", last, "--any-host"], 0
    else:
        model = reprogram.Reprogrammed.build(host, task, **parts, seed=cell["seed"])
        if cell["options"].get("warm_start"):
            options.pop("warm_start")
            model.warm_start(kept)
        found = reprogram.fit(model, task, seed=cell["seed"], **options)
        images = found.queries
        curve = [f"{asked(row, found)}:{row['validation_accuracy']:.4f}" for row in found.history]
        again = [
            "reprogram",
            "evaluate",
            "runs/asked/program.safetensors",
            "--task",
            plan["task"],
            "--host",
            last,
            "--any-host",
        ]
        command += ["--out", "runs/asked", "&&", *again] if last != spec else []
    seconds = time.perf_counter() - start
    model.host = reprogram.load_host(last) if last != spec else model.host
    tested = reprogram.evaluate(model, task)
    if not cell["defence"] and cell["attacker"] == plan["static"][cell["rung"]]:
        programs.mkdir(parents=True, exist_ok=True)
        model.save(kept)
    line = {name: cell[name] for name in ("rung", "defence", "attacker", "seed")}
    line |= {"host": plan["name"], "task": plan["task"], "accuracy": f"{tested.accuracy:.4f}", "n": tested.n}
    line |= {"alone": f"{label_map_alone(model, task)['accuracy']:.4f}", "images": images}
    joined = shlex.join(command).replace("'&&'", "&&")
    return line | {"seconds": f"{seconds:.1f}", "curve": " ".join(curve), "command": joined}


def asked(row: dict[str, Any], found: reprogram.FitResult) -> int:
    """The host's images that were paid for until a validation; all of them where nothing but a label map is fitted."""
    return round(found.queries * row["images"] / found.images_seen) if found.images_seen else found.queries


def own_images(plan: dict[str, Any], host: reprogram.Host) -> tuple[torch.Tensor, torch.Tensor]:
    """The images that the host was made for, and their labels: CIFAR-10's test images, or photographs of a folder."""
    given = plan["own"]
    if given.endswith(".npz"):
        test = reprogram.load_task("cifar10", data=given).test
        return test.images[:1000].float() / 255, test.labels[:1000]
    info, labels = host.info, json.loads((Path(given) / "labels.json").read_text(encoding="utf-8"))
    seen = {"size": info.size, "crop": info.crop, "interpolation": info.interpolation}
    images = [photograph(Path(given) / name, **seen) for name in labels]
    return torch.cat(images), torch.tensor(list(labels.values()))


def measure_host(plan: dict[str, Any], by: str) -> dict[str, Any]:
    """Accuracy on the host's own images, and the least processor time of an image alone, beside the bare host's."""
    bare = reprogram.load_host(plan["host"])
    host = reprogram.load_host(behind(plan, by)) if by else bare
    images, labels = own_images(plan, bare)
    with torch.no_grad():
        right = torch.cat([host(part).argmax(1) for part in images.split(100)]) == labels
        times: dict[str, list[float]] = {"bare": [], "defended": []}
        for number in range(40):  # In turns, so that other work on the machine meets both alike.
            for name, one in (("bare", bare), ("defended", host)):
                image = images[number % len(images)][None]
                start = time.thread_time()  # Of the processor, so that other work on the machine hardly counts.
                one(image)
                times[name].append(time.thread_time() - start)
    shortest = {name: min(values) * 1000 for name, values in times.items()}
    line = {"host": plan["name"], "defence": by, "right": int(right.sum()), "n": len(labels)}
    return line | {"bare_ms": f"{shortest['bare']:.3f}", "defended_ms": f"{shortest['defended']:.3f}"}


def main() -> int:
    """Do what isn't there yet; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["runs", "hosts"])
    parser.add_argument("plan", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the plan's")
    parser.add_argument("--rungs", nargs="+", choices=["weights", "scores", "label"], help="some of the plan's")
    parser.add_argument("--out", type=Path, help="the folder of the table, instead of the plan's")
    args = parser.parse_args()
    try:
        plan = read_plan(args.plan)
        start_torch(1)
        plan["seeds"] = args.seeds or plan["seeds"]
        plan["rungs"] = {name: rung for name, rung in plan["rungs"].items() if not args.rungs or name in args.rungs}
        path = (args.out or args.plan.parent) / args.plan.name
        path.parent.mkdir(parents=True, exist_ok=True)
        (of_hosts if args.what == "hosts" else of_runs)(plan, path)
    except (reprogram.ReprogramError, OSError) as error:
        print(f"defences.py: {error}", file=sys.stderr)
        return 2
    return 0


def of_hosts(plan: dict[str, Any], path: Path) -> None:
    """The table of what defences do to the host's own images."""
    table = Table(path.with_suffix(".hosts.csv"), ("host", "defence", "right", "n", "bare_ms", "defended_ms"))
    for by in ("", *plan["defences"], *plan.get("instead", [])):
        if not table.has(host=plan["name"], defence=by):
            table.add(measure_host(plan, by))


def of_runs(plan: dict[str, Any], path: Path) -> None:
    """The table of what attackers reach."""
    table, programs = Table(path.with_suffix(".csv"), COLUMNS), Path(plan["programs"])
    for cell in cells(plan):
        key = {name: cell[name] for name in ("rung", "defence", "attacker", "seed")}
        if not table.has(**key):
            table.add(learn(plan, cell, programs))
            print(*key.values(), table.lines[-1]["accuracy"], table.lines[-1]["seconds"], flush=True)


if __name__ == "__main__":
    sys.exit(main())
