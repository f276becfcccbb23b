"""The programs themselves: a gallery, and a classifier that names the host from its program."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from reprogram.paper.experiments.base import Block, Experiment, Picture, Strip, Table
from reprogram.paper.loading import model_of
from reprogram.paper.plan import ExperimentPlan, Planned
from reprogram.paper.store import ResultStore, Row
from reprogram.paper.tables import accuracy, distinct, pooled

SEEDS = tuple(range(8))
IMAGES = 3200
"""Training images of each run."""
BINS = 16
"""Rings of the spectrum."""
SHOWN = 4
"""Seeds whose programs are pictured: the lowest ones."""


class Programs(Experiment):
    """The paper's remark that ResNet's programs and Inception's look different."""

    title = "What programs look like"
    question = (
        "The paper remarks that one can tell by eye whether a program was learned for a ResNet or an Inception. Here "
        "a classifier tries it on these hosts: many small programs are learned on each, and from the spectrum of those "
        "with other seeds it names the host. The grey middle is in the spectrum too, and hosts differ in its share."
    )

    def plan(self, plan: ExperimentPlan) -> list[Planned]:
        """Short runs on one task, with many seeds on every host."""
        short = {
            "images": IMAGES,
            "epochs": None,
            "seconds": None,
            "validations": 1,
            "baselines": (),
            **plan.option("fit", {}),
        }
        if not plan.tasks or not plan.seeds:
            return []
        task = next(iter(plan.tasks))
        seeds = plan.seeds if len(plan.seeds) > 1 else [plan.seeds[0] + offset for offset in SEEDS]
        return [plan.planned(host, task, seed, **short) for host in plan.hosts for seed in seeds]

    def measure(self, plan: ExperimentPlan, store: ResultStore, say: Callable[[str], None]) -> None:
        """Store the picture and the spectrum of each program."""
        runs = list(self.finished(plan, store))
        first = sorted({row.seed for row, _ in runs})[:SHOWN]
        for row, run in runs:
            say(f"looking at {row.folder.name}")
            shown = row.seed in first
            of = {"test": row.result["test"], "shown": shown}
            store.measurement("programs", row.folder.name, of, partial(_spectrum_and_picture, row, run, shown))

    def show(self, store: ResultStore) -> list[Block]:
        """The gallery, and a table of the classifier's accuracy on held-out seeds."""
        rows, facts = store.rows("programs"), store.facts("programs")
        rows = [row for row in rows if row.folder.name in facts and _is_finite(facts[row.folder.name]["spectrum"])]
        blocks: list[Block] = []
        for task in distinct(row.task for row in rows):
            same = [row for row in rows if row.task == task]
            for host in distinct(row.host for row in same):
                pictures = [
                    Picture(source=facts[r.folder.name]["picture"], caption=f"seed {r.seed}, accuracy {pooled([r])}")
                    for r in same
                    if r.host == host and "picture" in facts[r.folder.name]
                ]
                where = "the task image goes into the grey middle"
                blocks.append(Strip(pictures=pictures, caption=f"{host}, {task}; {where}"))
            # Spectra of hosts with other channels have other numbers, and can't be compared.
            for length in distinct(len(facts[r.folder.name]["spectrum"]) for r in same):
                alike = [r for r in same if len(facts[r.folder.name]["spectrum"]) == length]
                if len(distinct(r.host for r in alike)) > 1 and len(distinct(r.seed for r in alike)) > 1:
                    blocks.append(_classification(alike, facts))
        return blocks


def _spectrum_and_picture(row: Row, run: Planned, shown: bool) -> dict[str, Any]:
    """The program's radial spectrum, and its picture where `shown` asks for it."""
    from reprogram.programfile.pictures import drawn
    from reprogram.report.examples import picture

    pixels = drawn(model_of(row, run))[0].detach().cpu()
    return {"spectrum": spectrum(pixels)} | ({"picture": picture(pixels)} if shown else {})


def spectrum(pixels: Any) -> list[float]:
    """The radial power spectrum of an image: the logarithm of the mean power in rings of equal width, less its mean.

    Args:
        pixels: C × H × W. Frequencies are in cycles per pixel, so images of different sizes can be compared.

    Returns:
        C · BINS numbers, channel by channel. A ring without any frequency, as small images have, takes the number of
        the ring before.
    """
    import numpy as np

    values = pixels.double().numpy()
    values = values - values.mean(axis=(1, 2), keepdims=True)
    power = np.abs(np.fft.fft2(values)) ** 2  # C × H × W
    rows, columns = (np.fft.fftfreq(n) for n in values.shape[1:])
    # H × W: |frequency| in BINS steps up to 0.5 cycles per pixel; the corners belong to the last ring
    ring = np.minimum((np.hypot(rows[:, None], columns[None]) / 0.5 * BINS).astype(int), BINS - 1)
    # The first ring always holds the frequency 0.
    filled = np.maximum.accumulate([b if (ring == b).any() else 0 for b in range(BINS)])
    logs = [np.log(power[c][ring == b].mean() + 1e-12) for c in range(len(values)) for b in filled]
    return [float(number) for number in np.array(logs) - np.mean(logs)]


def _is_finite(spectrum: Sequence[float]) -> bool:
    """Whether all numbers are finite; earlier versions stored others for hosts of few pixels."""
    return all(map(math.isfinite, spectrum))


def _classification(rows: Sequence[Row], facts: dict[str, Any]) -> Table:
    """A table of how well logistic regression names the host from the spectrum; each seed is held out in turn."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.array([facts[row.folder.name]["spectrum"] for row in rows])  # runs × (C · BINS)
    hosts, seeds = np.array([row.host for row in rows]), np.array([row.seed for row in rows])
    predictions = np.empty_like(hosts)
    for seed in np.unique(seeds):
        test = seeds == seed
        if len(set(hosts[~test])) < 2:
            return Table(head=["host"], rows=[], caption="Too few seeds to hold some out.")
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        predictions[test] = classifier.fit(x[~test], hosts[~test]).predict(x[test])
    table = []
    for host in distinct(hosts.tolist()):
        is_host = hosts == host
        others = Counter(predictions[is_host & (predictions != host)].tolist())
        confusions = ", ".join(f"{name} {count}" for name, count in others.items()) or "–"
        named = accuracy(int((predictions[is_host] == host).sum()), int(is_host.sum()))
        table.append([host, pooled([row for row in rows if row.host == host]), named, confusions])
    right, n = int((predictions == hosts).sum()), len(hosts)
    chance = max(Counter(hosts.tolist()).values()) / n
    table.append(["all", "", f"{accuracy(right, n, chance)}, chance {chance:.4f}", ""])
    images = " or ".join(f"{n:,}" for n in sorted({row.result["images_seen"] for row in rows}))
    caption = (
        f"The host named from its program's spectrum, {len(set(seeds.tolist()))} seeds, each held out in turn. Each "
        f"program saw {images} images of {rows[0].task}."
    )
    head = ["host", "test accuracy of its programs", "named rightly", "taken for"]
    return Table(head=head, rows=table, caption=caption)
