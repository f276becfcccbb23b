"""What the server counts, in the text format of Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Upper ends of the histograms' classes."""


class Metrics:
    """Counts of one server, in a registry of its own.

    No label holds a client's text: routes are templates, and names are those of what is served.

    Args:
        waiting: the images that wait or are computed now.
        connections: the connections that are open now.
    """

    def __init__(self, waiting: Callable[[], int], connections: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "reprogram_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "reprogram_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.images = Counter(
            "reprogram_images", "Images answered, by what was asked.", ["model"], registry=self.registry
        )
        self.alarms = Counter(
            "reprogram_alarms", "Images for which a detector's alarm rang.", ["detector"], registry=self.registry
        )
        self.batches = Histogram(
            "reprogram_batch_images", "Images computed at once.", buckets=BATCHES, registry=self.registry
        )
        self.computing = Counter("reprogram_computing_seconds", "Seconds of computing.", registry=self.registry)
        for name, text, function in (
            ("reprogram_waiting_images", "Images that wait or are computed.", waiting),
            ("reprogram_connections", "Open connections.", connections),
        ):
            Gauge(name, text, registry=self.registry).set_function(function)

    def batch(self, images: int, seconds: float) -> None:
        """Count a batch.

        Args:
            images: that were computed at once.
            seconds: that it took.
        """
        self.batches.observe(images)
        self.computing.inc(seconds)

    def text(self) -> bytes:
        """All counts, in the text format."""
        return generate_latest(self.registry)
