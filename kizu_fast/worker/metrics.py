"""/metrics of one worker, for Prometheus: numbers that are read when they are asked for, out of the objects that keep them anyway.

| name | kind | labels | what |
|---|---|---|---|
| kizu_queue_jobs | gauge | status: pending, processing | jobs of all users, backoff included |
| kizu_queue_oldest_seconds | gauge | | how long the oldest job that is due has waited |
| kizu_claim_seconds | summary | | asking the queue for jobs |
| kizu_attempts_total | counter | ending: completed, failed, pending (tried again later), released, deferred, lost (the lease) | attempts of this worker |
| kizu_photos_in_flight | gauge | | photos whose jobs this worker holds |
| kizu_stage_seconds | summary | stage: fetch, decode, preprocess, infer, postprocess, store | seconds of execution, waiting left out |
| kizu_model_inferences_total, kizu_model_executions_total, kizu_model_seconds_total | counter | model | rows, batches and seconds |
| kizu_batch_fill | gauge | model | mean rows per batch over the largest batch, 0 to 1 |
| kizu_backend | gauge | backend, model, provider, device, precision | 1: what really runs a model |
| kizu_up | gauge | service: database, services (backend and library) | 0 while it does not answer and claiming pauses |
| kizu_resident_bytes_max | gauge | | largest resident size this process has had |

Beside it /health, for whoever watches the worker: 200 while database and services answer, 503 while one of them does not and claiming pauses. Such a
worker is well itself and goes on by itself: nothing should restart it for that.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from kizu_fast.backends.memory import peak_resident_bytes
from kizu_fast.engine import Engine
from kizu_fast.errors import ConfigError, DatabaseUnavailable
from kizu_fast.store.overview import Backlog
from kizu_fast.worker.loop import Worker
from kizu_fast.worker.report import Tally

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_ASK_QUEUE_S = 5.0
_SERVICES = ("database", "services")
_ENDINGS = ("completed", "failed", "pending", "released", "deferred", "lost")


class Metrics:
    """A collector. collect() runs in the server's thread and only copies values."""

    def __init__(self, backend: str, engine: Engine, tally: Tally, worker: Worker) -> None:
        self._backend, self._engine, self._tally, self._worker = backend, engine, tally, worker
        self._backlog: Backlog | None = None

    async def watch(self, backlog: Callable[[], Awaitable[Backlog]], every_s: float = _ASK_QUEUE_S) -> None:
        """Ask for the queue's depth every few seconds until cancelled. While the database is gone nothing is shown instead of old numbers."""
        while True:
            try:
                self._backlog = await backlog()
            except DatabaseUnavailable:
                self._backlog = None
            await asyncio.sleep(every_s)

    def health(self) -> dict[str, object]:
        """What /health tells: `healthy` or `degraded`, for each service whether it answers, and the photos in hand."""
        gone = self._worker.outages
        return {
            "status": "degraded" if gone else "healthy",
            "checks": {service: "no answer" if service in gone else "ok" for service in _SERVICES},
            "photos_in_flight": self._worker.in_flight,
        }

    def collect(self) -> Iterator[Metric]:
        """All families, in the order of the table above."""
        yield from self._queue()
        yield from self._work()
        yield from self._models()
        yield from self._state()

    def _queue(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("kizu_queue_jobs", "Jobs of all users", labels=["status"])
        oldest = GaugeMetricFamily("kizu_queue_oldest_seconds", "Wait of the oldest job that is due")
        backlog = self._backlog
        if backlog is not None:
            jobs.add_metric(["pending"], backlog.pending)
            jobs.add_metric(["processing"], backlog.processing)
            oldest.add_metric([], backlog.oldest_s)
        yield from (jobs, oldest)
        claims = self._tally.claims
        yield SummaryMetricFamily("kizu_claim_seconds", "Asking the queue for jobs", count_value=claims.items, sum_value=claims.seconds)

    def _work(self) -> Iterator[Metric]:
        attempts = CounterMetricFamily("kizu_attempts", "Attempts of this worker by their ending", labels=["ending"])
        for ending in _ENDINGS:
            attempts.add_metric([ending], self._tally.endings[ending])
        yield attempts
        yield GaugeMetricFamily("kizu_photos_in_flight", "Photos whose jobs this worker holds", value=self._worker.in_flight)
        stages = SummaryMetricFamily("kizu_stage_seconds", "Seconds of execution by stage", labels=["stage"])
        for name, stage in {**self._engine.stats().stages, **self._tally.stages}.items():
            stages.add_metric([name], count_value=stage.items, sum_value=stage.seconds)
        yield stages

    def _models(self) -> Iterator[Metric]:
        inferences = CounterMetricFamily("kizu_model_inferences", "Rows", labels=["model"])
        executions = CounterMetricFamily("kizu_model_executions", "Batches", labels=["model"])
        seconds = CounterMetricFamily("kizu_model_seconds", "Seconds of execution", labels=["model"])
        fill = GaugeMetricFamily("kizu_batch_fill", "Mean rows per batch over the largest batch", labels=["model"])
        largest = self._engine.largest_batches()
        for name, time in self._engine.stats().models.items():
            for family, value in ((inferences, time.inferences), (executions, time.executions), (seconds, time.seconds)):
                family.add_metric([name], value)
            if time.executions and name in largest:
                fill.add_metric([name], time.inferences / time.executions / largest[name])
        yield from (inferences, executions, seconds, fill)

    def _state(self) -> Iterator[Metric]:
        runs = GaugeMetricFamily("kizu_backend", "What really runs a model", labels=["backend", "model", "provider", "device", "precision"])
        for name, running in self._engine.running().items():
            runs.add_metric([self._backend, name, running.provider, running.device, running.precision], 1)
        yield runs
        up = GaugeMetricFamily("kizu_up", "0 while a service does not answer", labels=["service"])
        for service in _SERVICES:
            up.add_metric([service], 0 if service in self._worker.outages else 1)
        yield up
        yield GaugeMetricFamily("kizu_resident_bytes_max", "Largest resident size of this process", value=peak_resident_bytes())


@contextmanager
def served(metrics: Metrics, host: str, port: int) -> Iterator[None]:
    """/metrics and /health on host:port, from a thread of their own, until the block ends. Raises ConfigError when the port cannot be had."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise ConfigError(f"/metrics cannot be served on {host}:{port}: {error.strerror or error}; choose another --metrics-port") from error
    server.set_app(_with_health(make_wsgi_app(registry), metrics))
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _with_health(others: "WSGIApplication", metrics: Metrics) -> "WSGIApplication":
    """The application of /health; whatever else is asked goes to the other one."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/health":
            return others(environ, start_response)
        document = metrics.health()
        start_response("200 OK" if document["status"] == "healthy" else "503 Service Unavailable", [("Content-Type", "application/json")])
        return [json.dumps(document).encode()]

    return answer
