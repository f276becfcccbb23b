"""The same program learned on another host, with gradients, and sent as it is."""

from dataclasses import dataclass
from typing import Any

from reprogram.errors import ConfigError
from reprogram.evaluation.baselines._asked import num_asked
from reprogram.evaluation.baselines.base import Asks, Baseline, BaselineInput
from reprogram.evaluation.metrics import score
from reprogram.evaluation.predict import predict
from reprogram.hosts._factory import load_host
from reprogram.hosts.base import Host
from reprogram.labelmaps._calibration import fit_to_answers, num_fit_images
from reprogram.model import Reprogrammed
from reprogram.registry import configure, format_spec


class Surrogate(Baseline):
    """The run's canvas, program and label map, learned on a local host of one's own and used on the run's host.

    Learning asks the run's host for nothing. There a label map that is fitted to answers is fitted anew, with the
    program, to as many training images as the run may ask for; another is taken along. `fit --warm-start` with the
    program file of a run on the surrogate goes on from there with a few queries.
    """

    attacks = True

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Options.

        Attributes:
            host: the spec of the surrogate; its input has the size of the run's host.
            learner: learns the program there.
            epochs: passes over the training images.
        """

        host: str
        learner: str = "adam"
        epochs: float = 5.0

        def __post_init__(self) -> None:
            configure("learners", self.learner)
            if not 0 < self.epochs < float("inf"):
                raise ConfigError(f"epochs={self.epochs}; a positive number is expected")

    @classmethod
    def example(cls) -> Config:
        """A linear host."""
        return cls.Config(host="linear:48", epochs=1.0)

    def asks(self, run: BaselineInput) -> Asks:
        """The training images that the label map is fitted to, and the test images; learning is about another run."""
        images = self._num_fit(run) + len(run.task.test)
        views = run.model.program.num_views
        return Asks(images=images, ask=run.model.host_scores, repeats_run=True, views=views)

    def check(self, run: BaselineInput) -> None:
        """Refuse a surrogate whose input has another size, or from which the label map can't be taken along."""
        self._surrogate(run)

    def measure(self, run: BaselineInput) -> dict[str, Any]:
        """Learn the program on the surrogate; see `Baseline.measure`."""
        host = self._surrogate(run)
        assert run.learn_on is not None
        unlimited = dict.fromkeys(("images", "seconds", "queries", "requests", "cost"))
        budget = {**unlimited, "epochs": self.config.epochs}
        twin, images_seen, seconds = run.learn_on(host, {"learner": self.config.learner, "loss": "auto", **budget})
        scores = predict(self._sent(run, twin), run.task.test)
        run.predictions["surrogate"] = scores.argmax(dim=1)
        return {
            **score(scores, run.task.test.labels).to_json(),
            "host": host.info.id,
            "train_images": self._num_fit(run),
            "images_seen": images_seen,
            "seconds": round(seconds, 3),
        }

    def _surrogate(self, run: BaselineInput) -> Host:
        """The surrogate, with a size and labels that let the program be sent."""
        host, ours, label_map = load_host(self.config.host), run.model.host, run.model.label_map
        if host.info.shape != ours.info.shape:
            raise ConfigError(
                f"surrogate {host.info.id} takes {_size(host.info.shape)}, host {ours.info.id} takes "
                f"{_size(ours.info.shape)}; give a surrogate with the same input"
            )
        learned = label_map.refit_schedule in ("never", "once") and any(p.requires_grad for p in label_map.parameters())
        if learned and host.info.num_classes != ours.info.num_classes:
            raise ConfigError(
                f"label map {label_map.name()} is learned with the program; from {host.info.num_classes} host labels "
                f"it can't be taken to {ours.info.num_classes}; leave the baseline 'surrogate' out"
            )
        return host

    def _num_fit(self, run: BaselineInput) -> int:
        available, views = len(run.task.train), run.model.program.num_views
        queries = None if run.queries is None else max(run.queries // views, 1)
        return num_fit_images(run.model.label_map, available, num_asked(run), queries=queries)

    def _sent(self, run: BaselineInput, twin: Reprogrammed) -> Reprogrammed:
        """The surrogate's program on the run's host."""
        ours = run.model
        parts = {"canvas": ours.canvas, "program": ours.program, "label_map": ours.label_map}
        specs = {name: format_spec(part) for name, part in parts.items()}
        sent = Reprogrammed.build(ours.host, run.task, seed=run.seed, **specs)
        sent.program.load_state_dict(twin.program.state_dict())
        same = ours.host.info.num_classes == twin.host.info.num_classes
        if same:
            sent.label_map.load_state_dict(twin.label_map.state_dict())
        train = run.task.train.to(ours.canvas.frame.device)
        count = self._num_fit(run)
        sent.label_map = fit_to_answers(sent.label_map, sent.host_scores, train, count=count, learned=same)
        return sent


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
