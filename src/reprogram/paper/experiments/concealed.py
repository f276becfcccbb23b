"""Concealment: the task image shuffled and faint, the program bounded, both added to a photograph."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from reprogram.paper.experiments.base import Block, Experiment, Picture, Strip, Table
from reprogram.paper.loading import model_of, some, task_of
from reprogram.paper.plan import ExperimentPlan, Planned
from reprogram.paper.store import ResultStore
from reprogram.paper.tables import by_host_and_task, pooled

LEVELS = (4, 8, 16, 32)
"""The largest changes of a pixel, of program and task image each, in steps of an 8-bit image."""
PROGRAM = "concealed(photo={photo!r}, eps={eps!r}, contrast={contrast!r}, round_8bit=True)"
SHOWN = 3
"""Test images whose pictures are shown."""
NOTE = (
    "Program and task image may each change a pixel by ε, so where they meet the largest change is up to 2 ε. Changes, "
    "PSNR and SSIM are against the photograph, in [0, 1] pixels, over 100 test images at the most, and of the first "
    "seed's program."
)
MEASURED = 100
"""Test images whose distances are measured, at the most."""


class Concealed(Experiment):
    """Concealing the program and the task in a photograph that asks for something else."""

    title = "Hidden in a photograph"
    question = (
        "The task image is shuffled, made faint and added to the middle of an ordinary photograph; the program is "
        "bounded and added to all of it. The paper shows that a host can be reprogrammed by pictures like these."
    )

    options: ClassVar = {"levels": list[int]}

    def plan(self, plan: ExperimentPlan) -> list[Planned]:
        """Runs with every amplitude."""
        return [
            plan.planned(
                host,
                task,
                seed,
                axis={"level": level},
                canvas=plan.centred(task, "shuffled"),
                program=PROGRAM.format(photo=plan.photo, eps=level / 255, contrast=min(2 * level / 255, 1.0)),
            )
            for task in plan.tasks
            for host in plan.hosts
            for level in plan.option("levels", LEVELS)
            for seed in plan.seeds
        ]

    def measure(self, plan: ExperimentPlan, store: ResultStore, say: Callable[[str], None]) -> None:
        """Store pictures and distances of the first seed's run of each amplitude."""
        for row, run in self.finished(plan, store):
            if row.seed == min(plan.seeds):
                say(f"looking at {row.folder.name}")
                of = {"test": row.result["test"], "shown": SHOWN, "drawn": MEASURED, "task images": True}
                store.measurement("concealed", row.folder.name, of, partial(_pictures_and_distances, row, run))

    def show(self, store: ResultStore) -> list[Block]:
        """The pictures of each amplitude, and below them a table of the numbers."""
        facts = store.facts("concealed")
        blocks: list[Block] = []
        for host, task, rows in by_host_and_task(store.rows("concealed")):
            blocks.append(f"{task} on {host}")
            table = []
            for level in sorted({row.axis["level"] for row in rows}):
                same = [row for row in rows if row.axis["level"] == level]
                fact = next((facts[row.folder.name] for row in same if row.folder.name in facts), None)
                distances = [f"{fact['linf']:.4f}", f"{fact['psnr']:.1f}", f"{fact['ssim']:.4f}"] if fact else ["–"] * 3
                table.append([f"{level}/255", pooled(same), *distances])
                if fact:
                    blocks += _strips(fact["pictures"], f"ε = {level}/255, test accuracy {pooled(same)}")
            head = ["ε", "test accuracy", "largest change", "PSNR, dB", "SSIM"]
            blocks.append(Table(head=head, rows=table, caption=NOTE))
        return blocks


def _strips(pictures: Sequence[Sequence[str]], caption: str) -> list[Block]:
    """The photograph, and below it what belongs to each test image in a line of its own."""
    photo, *others = [Picture(source=source, caption=text) for text, source in pictures]
    # Each test image's pictures begin with the same caption; earlier versions have no picture of the task image.
    num_images = sum(picture.caption == others[0].caption for picture in others) if others else 1
    alone, sums = Strip(pictures=[photo], caption=caption), Strip(pictures=others, together=len(others) // num_images)
    return [alone, sums] if others else [alone]


def _pictures_and_distances(row: Any, run: Planned) -> dict[str, Any]:
    """Pictures of the photograph, the additions (ten times) and the sums; and the distances of sums and photograph."""
    import torch

    from reprogram.paper.image_metrics import psnr, ssim
    from reprogram.report.examples import picture

    model = model_of(row, run)
    task = task_of(run.config)
    test = some(task.test, MEASURED, run.seed)
    images = test.images.to(model.canvas.frame.device)
    with torch.no_grad():
        framed = model.program(model.canvas(images))
        results = framed.dense()
        answers = model.label_map(model.host(framed)).argmax(dim=1).tolist()
        photo = model.program.photo / 255
    pictures = [["the photograph", picture(photo[0].cpu())]]
    for index in range(min(SHOWN, len(results))):
        pictures.append(["the task image", picture(test.images[index] / 255)])
        # mid-grey + 10 (result − photograph)
        difference = (0.5 + 10 * (results[index] - photo[0])).clamp(0, 1)
        pictures.append(["added, × 10", picture(difference.cpu())])
        answer, truth = (task.class_names[int(label)] for label in (answers[index], test.labels[index]))
        text = answer if answer == truth else f"{answer} (is {truth})"
        pictures.append([f"the host sees this, and it is read as {text}", picture(results[index].cpu())])
    photos = photo.expand_as(results)
    return {
        "pictures": pictures,
        "linf": float((results - photos).abs().max()),
        "psnr": float(psnr(results, photos).mean()),
        "ssim": float(ssim(results, photos).mean()),
    }
