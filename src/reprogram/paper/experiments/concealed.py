"""Concealed: the task image shuffled and faint, the program bounded, both hidden in a photograph."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from reprogram.paper.book import Book
from reprogram.paper.experiments.base import (
    Block,
    Experiment,
    Picture,
    Strip,
    Table,
    distinct,
    model_of,
    pooled,
    some,
    task_of,
)
from reprogram.paper.setup import Planned, Setup

LEVELS = (4, 8, 16, 32)
"""Largest changes of program and task image each, in steps of an 8-bit image."""
PROGRAM = "concealed(photo={photo!r}, eps={eps!r}, contrast={contrast!r}, round_8bit=True)"
SHOWN = 3
NOTE = (
    "Program and task image may each change a pixel by ε, so where they meet the largest change is up to 2 ε. Changes, "
    "PSNR and SSIM are against the photograph, in [0, 1] pixels, over 100 test images at the most."
)
MEASURED = 100


class Concealed(Experiment):
    """Concealing the program and the task in a photograph that asks for something else."""

    title = "Hidden in a photograph"
    question = (
        "The task image is shuffled, made faint and added to the middle of an ordinary photograph; the program is "
        "bounded and added to all of it. The paper shows that a host can be reprogrammed by pictures like these."
    )

    options: ClassVar = {"levels": list[int]}

    def plan(self, setup: Setup) -> list[Planned]:
        """Every amplitude."""
        return [
            setup.plan(
                host,
                task,
                seed,
                axis={"level": level},
                canvas="shuffled",
                program=PROGRAM.format(photo=setup.photo, eps=level / 255, contrast=min(2 * level / 255, 1.0)),
            )
            for task in setup.tasks
            for host in setup.hosts
            for level in setup.option("levels", LEVELS)
            for seed in setup.seeds
        ]

    def measure(self, setup: Setup, book: Book, say: Callable[[str], None]) -> None:
        """Pictures and distances of the first run of each amplitude."""
        for row, run in self.finished(setup, book):
            if row.seed == min(setup.seeds):
                say(f"looking at {row.folder.name}")
                of = {"test": row.result["test"], "shown": SHOWN, "drawn": MEASURED, "task images": True}
                book.fact("concealed", row.folder.name, of, partial(hidden, row, run))

    def show(self, book: Book) -> list[Block]:
        """The strip of each amplitude above its numbers."""
        facts = book.facts("concealed")
        rows = book.rows("concealed")
        blocks: list[Block] = []
        for host, task in distinct((row.host, row.task) for row in rows):
            blocks.append(f"{task} on {host}")
            here = sorted((r for r in rows if (r.host, r.task) == (host, task)), key=lambda r: r.axis["level"])
            table = []
            for level in distinct(row.axis["level"] for row in here):
                same = [row for row in here if row.axis["level"] == level]
                fact = next((facts[row.folder.name] for row in same if row.folder.name in facts), None)
                distances = [f"{fact['linf']:.4f}", f"{fact['psnr']:.1f}", f"{fact['ssim']:.4f}"] if fact else ["–"] * 3
                table.append([f"{level}/255", pooled(same), *distances])
                if fact:
                    pictures = [Picture(source=source, caption=text) for text, source in fact["pictures"]]
                    blocks.append(Strip(pictures=pictures, caption=f"ε = {level}/255"))
            head = ["ε", "test accuracy", "largest change", "PSNR, dB", "SSIM"]
            blocks.append(Table(head=head, rows=table, caption=NOTE))
        return blocks


def hidden(row: Any, run: Planned) -> dict[str, Any]:
    """The photograph, what was added (ten times), and the result; and how far they are apart."""
    import torch

    from reprogram.paper.similarity import psnr, ssim
    from reprogram.report.examples import picture

    model = model_of(row, run)
    task = task_of(run.config.task, run.config.data, run.config.download)
    test = some(task.test, MEASURED, run.seed)
    images = test.images.to(model.canvas.frame.device)
    with torch.no_grad():
        framed = model.program(model.canvas(images))
        results = framed.dense()
        answers = model.label_map(model.host(framed)).argmax(dim=1).tolist()
        photo = model.program.photo / 255
    pictures = [["the photograph", picture(photo[0].cpu())]]
    for place in range(min(SHOWN, len(results))):
        pictures.append(["the task image", picture(test.images[place] / 255)])
        added = (0.5 + 10 * (results[place] - photo[0])).clamp(0, 1)
        pictures.append(["added, × 10", picture(added.cpu())])
        said, is_one = (task.class_names[int(label)] for label in (answers[place], test.labels[place]))
        answer = said if said == is_one else f"{said} (is {is_one})"
        pictures.append([f"the host sees this, and it is read as {answer}", picture(results[place].cpu())])
    whole = photo.expand_as(results)
    return {
        "pictures": pictures,
        "linf": float((results - whole).abs().max()),
        "psnr": float(psnr(results, whole).mean()),
        "ssim": float(ssim(results, whole).mean()),
    }
