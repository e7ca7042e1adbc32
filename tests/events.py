"""Events as stages leave them, made by hand, and the store in which they are recorded."""

from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from softmax_regression.tracking.event import Event
from softmax_regression.tracking.runs import record


class Project:
    """Events of one test, in an experiment of its own."""

    def __init__(self, root: Path, client: MlflowClient, experiment: str) -> None:
        self.root, self.client, self.experiment, self.count = root, client, experiment, 0

    def event(
        self, stage: str, model: str | None = "abc", dvc_experiment: str | None = None, **values: object
    ) -> Event:
        """What a stage that is over has written down."""
        self.count += 1
        folder = self.root / ".journal" / f"{self.count}-{self.experiment}"
        folder.mkdir(parents=True)
        tags = {"dvc.experiment": dvc_experiment} if dvc_experiment else {}
        started = 1_700_000_000_000 + self.count
        event = Event(folder, stage, self.experiment, f"run-{self.count}", stage == "train", started, tags=tags)
        event.model_sha256, event.status, event.ended = model, "FINISHED", started + 500
        for name, value in values.items():
            setattr(event, name, value)
        return event

    def record(self, event: Event) -> Run:
        """The run of an event, once the event is recorded in it."""
        return self.client.get_run(record(self.client, event, self.root))

    def runs(self) -> list[Run]:
        """All runs of the experiment."""
        experiment = self.client.get_experiment_by_name(self.experiment)
        assert experiment is not None
        return list(self.client.search_runs([experiment.experiment_id]))
