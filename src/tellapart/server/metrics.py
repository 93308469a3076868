"""What the server counts, for Prometheus. No label takes its values from a client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from tellapart.evaluation.drift import Counts
from tellapart.server.workers import Desk

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody reads

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """All counters of one server.

    Args:
        desk: whose workers and queue are shown.
        seen: the images of each model by the cells of its reference.
    """

    def __init__(self, desk: Desk, seen: Mapping[str, Counts]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "tellapart_requests",
            "Requests, by route and HTTP status.",
            ("route", "status"),
            registry=self.registry,
        )
        self.refused = Counter(
            "tellapart_refused", "Requests refused, by reason.", ("reason",), registry=self.registry
        )
        self.images = Counter(
            "tellapart_images",
            "Images looked at, by model, status and decision.",
            ("model", "status", "decision"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "tellapart_seconds",
            "Seconds of an answer, by stage.",
            ("stage",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.per_request = Histogram(
            "tellapart_images_per_request",
            "Images in one request.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.open = Gauge(
            "tellapart_requests_open", "Requests in progress.", registry=self.registry
        )
        self.registry.register(_OfDesk(desk))
        self.registry.register(_OfCounts(seen))

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _OfDesk:
    """What the desk knows itself, read when it is asked for."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def collect(self) -> Iterable[Metric]:
        for name, what, value in (
            ("waiting", "Images that wait for a worker.", self._desk.waiting),
            ("workers", "Worker processes that can answer.", self._desk.alive),
            ("computed", "Images given to a worker.", self._desk.computed),
            ("ready", "1 where an image that comes now is answered.", int(self._desk.ready)),
        ):
            yield GaugeMetricFamily(f"tellapart_{name}", what, value)


class _OfCounts:
    """How many images fell into each cell of the models' references."""

    def __init__(self, counts: Mapping[str, Counts]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(
            "tellapart_drift_images",
            "Images by the cells of a model's reference, which held a tenth of its images each.",
            labels=("model", "measure", "cell"),
        )
        for model, counts in self._counts.items():
            for measure, cells in counts.cells.items():
                for cell, count in enumerate(cells):
                    family.add_metric((model, measure, str(cell)), count)
        yield family
