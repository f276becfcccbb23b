"""MLflow: a run of an experiment."""

import time
from dataclasses import dataclass
from typing import Any

from reprogram.errors import ConfigError
from reprogram.registry import EmptyConfig
from reprogram.trackers.base import Pixels, TrackedRun, Tracker, variable

MAX_PARAM = 500
"""Characters of an option's value that every version of MLflow takes."""


DATABRICKS = ("databricks", "databricks-uc", "uc")
"""What the tracking URIs of MLflow begin with that name a workspace without its address."""


class Mlflow(Tracker):
    """A run of an MLflow experiment; `mlflow ui` in the same folder shows it.

    Where `uri` and `MLFLOW_TRACKING_URI` name no server, it is kept on this machine, where MLflow keeps runs by
    default. Needs `pip install 'reprogram[mlflow]'`. A server elsewhere gets options, numbers, pictures and the result,
    after `--i-am-authorised HOST`.
    """

    package = extra = "mlflow"

    @dataclass(frozen=True, kw_only=True)
    class Config(EmptyConfig):
        """Options.

        Attributes:
            uri: MLflow's tracking URI; by default `MLFLOW_TRACKING_URI`, or else MLflow's own choice.
            experiment: the experiment's name.
        """

        uri: str = ""
        experiment: str = "reprogram"

    _id: str = ""

    def destination(self) -> str:
        """The server's URL; empty for a file or a database of this machine."""
        uri: str = self.config.uri or variable("MLFLOW_TRACKING_URI")
        scheme = uri.partition(":")[0].lower()
        if scheme in DATABRICKS:
            workspace: str = variable("DATABRICKS_HOST")
            if not workspace.startswith("https://"):
                raise ConfigError(
                    f"--track mlflow: {uri} is a workspace elsewhere; set DATABRICKS_HOST to its https:// address, so "
                    "that it can be agreed to"
                )
            return workspace
        return "" if scheme in ("", "file", "sqlite") or "://" not in uri else uri

    def begin(self, run: TrackedRun) -> str:
        """Begin; see `Tracker.begin`.

        Args:
            run: as there.
        """
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(tracking_uri=self.config.uri or None)
        if run.id:
            self._id = run.id
            self._client.update_run(self._id, status="RUNNING")
            return self._id
        experiment = self._client.get_experiment_by_name(self.config.experiment)
        number = experiment.experiment_id if experiment else self._client.create_experiment(self.config.experiment)
        self._id = self._client.create_run(number, run_name=run.name).info.run_id
        params = [Param(name, str(value)[:MAX_PARAM]) for name, value in run.config.items() if value not in (None, "")]
        self._client.log_batch(self._id, params=params)
        return self._id

    def where(self) -> str:
        """Where the run is seen."""
        return f"MLflow experiment {self.config.experiment}, run {self._id}; see it with: mlflow ui"

    def numbers(self, values: dict[str, float], step: int) -> None:
        """Keep numbers; see `Tracker.numbers`.

        Args:
            values: as there.
            step: as there.
        """
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(self._id, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def picture(self, name: str, pixels: Pixels, step: int) -> None:
        """Keep a picture; see `Tracker.picture`.

        Args:
            name: as there.
            pixels: as there.
            step: as there.
        """
        self._client.log_image(self._id, image=pixels, key=name, step=step)

    def result(self, values: dict[str, float], document: dict[str, Any], step: int) -> None:
        """Keep the result; see `Tracker.result`.

        Args:
            values: as there.
            document: as there.
            step: as there.
        """
        self.numbers({f"result/{name}": value for name, value in values.items()}, step)
        self._client.log_dict(self._id, document, "result.json")

    def end(self, *, failed: bool) -> None:
        """Say how the run ended.

        Args:
            failed: whether it was interrupted, or failed.
        """
        if self._id:
            self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")
