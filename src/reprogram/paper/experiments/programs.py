"""The programs themselves: a gallery, and whether one can tell the host from its program."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from reprogram.paper.book import Book, Row
from reprogram.paper.experiments.base import Block, Experiment, Picture, Strip, Table, accuracy, distinct, model_of
from reprogram.paper.setup import Planned, Setup

SEEDS = tuple(range(8))
IMAGES = 3200
BINS = 16
SHOWN = 4
"""Seeds whose programs are pictured, the lowest."""


class Programs(Experiment):
    """The paper's remark that ResNet's programs and Inception's look different."""

    title = "What programs look like"
    question = (
        "The paper remarks that one can tell by eye whether a program was learned for a ResNet or an Inception. Here "
        "a classifier tries it on these hosts: many small programs are learned on each, and from the spectrum of those "
        "with other seeds it names the host. The grey middle is in the spectrum too, and hosts differ in its share."
    )

    def plan(self, setup: Setup) -> list[Planned]:
        """Small programs, with many seeds on every host, for one task."""
        small = {
            "images": IMAGES,
            "epochs": None,
            "seconds": None,
            "validations": 1,
            "baselines": (),
            **setup.option("fit", {}),
        }
        task = next(iter(setup.tasks))
        seeds = setup.seeds if len(setup.seeds) > 1 else [setup.seeds[0] + more for more in SEEDS]
        return [setup.plan(host, task, seed, **small) for host in setup.hosts for seed in seeds]

    def measure(self, setup: Setup, book: Book, say: Callable[[str], None]) -> None:
        """The picture and the spectrum of each program."""
        finished = list(self.finished(setup, book))
        first = sorted({row.seed for row, _ in finished})[:SHOWN]
        for row, run in finished:
            say(f"looking at {row.folder.name}")
            shown = row.seed in first
            of = {"test": row.result["test"], "shown": shown}
            book.fact("programs", row.folder.name, of, partial(seen, row, run, shown))

    def show(self, book: Book) -> list[Block]:
        """The gallery, then the classifier's accuracy on held-out seeds."""
        rows, facts = book.rows("programs"), book.facts("programs")
        rows = [row for row in rows if row.folder.name in facts]
        blocks: list[Block] = []
        for task in distinct(row.task for row in rows):
            here = [row for row in rows if row.task == task]
            for host in distinct(row.host for row in here):
                pictures = [
                    Picture(source=facts[r.folder.name]["picture"], caption=f"seed {r.seed}, accuracy {r.accuracy:.2f}")
                    for r in here
                    if r.host == host and "picture" in facts[r.folder.name]
                ]
                where = "the task image goes into the grey middle"
                blocks.append(Strip(pictures=pictures, caption=f"{host}, {task}; {where}"))
            if len(distinct(r.host for r in here)) > 1 and len(distinct(r.seed for r in here)) > 1:
                blocks.append(_who_is_it(here, facts))
        return blocks


def seen(row: Row, run: Planned, shown: bool) -> dict[str, Any]:
    """The program's radial spectrum, and its picture where it is shown."""
    from reprogram.report.examples import drawn, picture

    pixels = drawn(model_of(row, run))[0].detach().cpu()
    return {"spectrum": spectrum(pixels)} | ({"picture": picture(pixels)} if shown else {})


def spectrum(pixels: Any) -> list[float]:
    """The logarithm of the power in rings of equal width, in each channel, less its mean: a program's texture.

    Args:
        pixels: C × H × W. Frequencies count in cycles a pixel, so canvases of different sizes can be compared.

    Returns:
        C · BINS numbers.
    """
    import numpy as np

    values = pixels.double().numpy()
    values = values - values.mean(axis=(1, 2), keepdims=True)
    power = np.abs(np.fft.fft2(values)) ** 2
    rows, columns = (np.fft.fftfreq(n) for n in values.shape[1:])
    ring = np.minimum((np.hypot(rows[:, None], columns[None]) / 0.5 * BINS).astype(int), BINS - 1)
    found = [np.log(power[c][ring == b].mean() + 1e-12) for c in range(len(values)) for b in range(BINS)]
    return [float(number) for number in np.array(found) - np.mean(found)]


def _who_is_it(rows: Sequence[Row], facts: dict[str, Any]) -> Table:
    """Name the host from the spectrum: logistic regression, each seed held out in turn."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.array([facts[row.folder.name]["spectrum"] for row in rows])
    hosts, seeds = np.array([row.host for row in rows]), np.array([row.seed for row in rows])
    said = np.empty_like(hosts)
    for seed in np.unique(seeds):
        held = seeds == seed
        if len(set(hosts[~held])) < 2:
            return Table(head=["host"], rows=[], caption="Too few seeds to hold some out.")
        said[held] = (
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
            .fit(x[~held], hosts[~held])
            .predict(x[held])
        )
    table = []
    for host in distinct(hosts.tolist()):
        of = hosts == host
        others = Counter(said[of & (said != host)].tolist())
        confused = ", ".join(f"{name} {count}" for name, count in others.items()) or "–"
        table.append([host, accuracy(int((said[of] == host).sum()), int(of.sum())), confused])
    right, n = int((said == hosts).sum()), len(hosts)
    chance = max(Counter(hosts.tolist()).values()) / n
    table.append(["all", f"{accuracy(right, n, chance)}, chance {chance:.4f}", ""])
    images = " or ".join(f"{n:,}" for n in sorted({row.result["images_seen"] for row in rows}))
    caption = (
        f"The host named from its program's spectrum, {len(set(seeds.tolist()))} seeds, each held out in turn. Each "
        f"program saw {images} images of {rows[0].task}."
    )
    return Table(head=["host", "named rightly", "taken for"], rows=table, caption=caption)
