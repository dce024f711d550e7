"""What Prometheus collects of a server."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The figures of one server, in a registry of its own."""

    def __init__(self, pending: Callable[[], float]) -> None:
        self._registry = own = CollectorRegistry()
        self.requests = Counter("crossmodal_requests", "Requests answered.", ["route", "status"], registry=own)
        self.seconds = Histogram(
            "crossmodal_request_seconds", "From head to answer.", ["route"], buckets=_SECONDS, registry=own
        )
        self.rows = Counter("crossmodal_rows", "Rows answered and refused.", ["outcome"], registry=own)
        self.batch_rows = Histogram("crossmodal_batch_rows", "Rows of a batch.", buckets=_ROWS, registry=own)
        self.swaps = Counter("crossmodal_swaps", "Versions loaded after the alias moved.", ["outcome"], registry=own)
        self.model = Gauge("crossmodal_model_info", "The model that answers.", ["model", "version"], registry=own)
        Gauge("crossmodal_pending_requests", "Requests under way.", registry=own).set_function(pending)

    def count_swap(self, swapped: bool) -> None:
        """Another version was loaded, or could not be."""
        self.swaps.labels("done" if swapped else "failed").inc()

    def text(self, model: str, version: str) -> bytes:
        """All of it, in Prometheus' format."""
        self.model.clear()
        self.model.labels(model, version).set(1)
        return generate_latest(self._registry)
