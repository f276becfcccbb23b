"""The same program on the untrained host."""

from typing import Any

from reprogram.errors import ConfigError
from reprogram.evaluation.baselines.base import Asks, Baseline, BaselineInput
from reprogram.evaluation.metrics import score
from reprogram.evaluation.predict import predict


class Untrained(Baseline):
    """The same run on the same architecture with random weights."""

    def asks(self, run: BaselineInput) -> Asks:
        """The run's own host is asked nothing; see `Baseline.asks`."""
        return Asks(images=0, ask=None, repeats_run=True)

    def check(self, run: BaselineInput) -> None:
        """Refuse a host that has no untrained twin."""
        host = run.model.host
        if host.untrained is None:
            raise ConfigError(
                f"host {host.info.id}: its architecture can't be built anew; leave the baseline 'untrained' out"
            )

    def measure(self, run: BaselineInput) -> dict[str, Any]:
        """Learn a program for the host's untrained twin; see `Baseline.measure`."""
        self.check(run)
        host = run.model.host
        assert host.untrained is not None and run.learn_on is not None
        twin, images_seen, seconds = run.learn_on(host.untrained(run.seed), {})
        test = score(predict(twin, run.task.test), run.task.test.labels)
        return {
            **test.to_json(),
            "host": twin.host.info.id,
            "images_seen": images_seen,
            "seconds": round(seconds, 3),
        }
