"""OpenTelemetry, where it is installed: a trace of each job from the request to its delivery.

Where it goes is OpenTelemetry's own to say: OTEL_EXPORTER_OTLP_ENDPOINT and its like.
"""

import os
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from bot.delivery.tracker import Tracker
from generation.job import Job, JobState
from generation.messages import Finished, JobEvent
from generation.worker_pool import WorkerPool

log = structlog.get_logger(__name__)

SERVICE: Final = "darkroom"
WANTED: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
KEPT_MAX: Final = 10_000
"""Jobs that have begun and not been delivered."""


def trace_jobs(workers: WorkerPool, delivery: Tracker) -> None:
    """Send traces, if an exporter is named in the environment and OpenTelemetry is there."""
    if not any(os.environ.get(name) for name in WANTED):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning(
            "no traces are sent: OpenTelemetry is not installed",
            install='python -m pip install "darkroom[tracing]"',
        )
        return
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", SERVICE)})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    JobTraces(provider.get_tracer(SERVICE), workers, delivery)
    log.info("traces are sent")


class JobTraces:
    """A span for each job, with one each for its waiting, its making and its delivery."""

    def __init__(self, tracer: Any, workers: WorkerPool, delivery: Tracker) -> None:
        self._tracer = tracer
        self._roots: dict[int, Any] = {}
        workers.listen(self._hear)
        delivery.listen(self._delivered)

    def _hear(self, job: Job, event: JobEvent | None) -> None:
        if event is None and job.state is JobState.RUNNING and job.started_at is not None:
            self._span(job, "waiting", job.created_at, job.started_at)
        elif job.ended and job.started_at is not None and job.ended_at is not None:
            attributes: dict[str, Any] = {"darkroom.state": job.state.value}
            if isinstance(event, Finished):
                attributes["darkroom.seconds_loading"] = event.seconds_loading
            if job.failure is not None:
                attributes["darkroom.failure"] = job.failure.code
            self._span(job, "making", job.started_at, job.ended_at, attributes)

    def _delivered(self, job: Job, told: bool) -> None:
        now = datetime.now(UTC)
        self._span(job, "delivery", job.ended_at or now, now, {"darkroom.told": told})
        root = self._roots.pop(job.id, None)
        if root is not None:
            root.end(_nanoseconds(now))

    def _span(
        self,
        job: Job,
        name: str,
        begin: datetime,
        end: datetime,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        from opentelemetry.trace import set_span_in_context

        context = set_span_in_context(self._root(job))
        span = self._tracer.start_span(
            name, context, start_time=_nanoseconds(begin), attributes=attributes or {}
        )
        span.end(_nanoseconds(end))

    def _root(self, job: Job) -> Any:
        if job.id not in self._roots:
            if len(self._roots) >= KEPT_MAX:
                self._roots.pop(next(iter(self._roots))).end()
            # what somebody wrote is theirs, and goes nowhere else
            attributes = {
                "darkroom.job": job.id,
                "darkroom.action": job.action,
                "darkroom.model": job.request.made_with,
                "darkroom.pictures": job.request.count,
            }
            self._roots[job.id] = self._tracer.start_span(
                "job", start_time=_nanoseconds(job.created_at), attributes=attributes
            )
        return self._roots[job.id]


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1e9)
