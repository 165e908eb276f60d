"""What Prometheus is told: the queue, how long things take, what fails, and how Discord does."""

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import psutil
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily

from generation.job import Job, JobState
from generation.messages import Failed, Finished, JobEvent
from generation.worker_pool import WorkerPool

WAITING: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
STEP: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
MAKING: Final = (0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320, 640)
DELIVERING: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)
"""Bounds of buckets, in seconds."""


class Metrics:
    """Counts what happens in this process; all names begin with `darkroom_`."""

    def __init__(self, workers: WorkerPool) -> None:
        self.registry = CollectorRegistry()
        self._workers = workers
        self._client: Any = None

        def counter(name: str, help_: str, *labels: str) -> Counter:
            return Counter(f"darkroom_{name}", help_, labels, registry=self.registry)

        def histogram(name: str, help_: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(
                f"darkroom_{name}", help_, labels, registry=self.registry, buckets=buckets
            )

        self._jobs = counter("jobs", "Jobs that have ended, by how", "state", "action")
        self._failures = counter("job_failures", "Jobs that failed, by the code of why", "code")
        self._pictures = counter("pictures", "Pictures that were made", "model")
        self._waited = histogram(
            "job_waiting_seconds", "From the request until a worker took it", WAITING
        )
        self._made = histogram(
            "job_seconds", "From the moment when a worker took a job to its end", MAKING, "worker"
        )
        self._loading = histogram("model_loading_seconds", "Loading of models", MAKING, "model")
        self._step = histogram(
            "step_seconds", "A step of one picture, all else of its job included", STEP, "model"
        )
        self._deliveries = counter("deliveries", "Results that their owners were told", "outcome")
        self._delivered = histogram(
            "delivery_seconds", "From the end of a job until its owner was told", DELIVERING
        )
        self._requests = counter("discord_requests", "Answers of Discord's API", "status")
        self._rate_limited = counter("discord_rate_limited", "Answers that said to wait (429)")
        self.registry.register(_Now(self))
        workers.listen(self._hear)

    def observe_client(self, client: Any) -> None:
        """Look at this Discord client, too."""
        self._client = client

    def trace(self) -> aiohttp.TraceConfig:
        """What counts the answers of Discord's API, for the client's session."""
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._answered)
        return config

    async def _answered(
        self,
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        ended: aiohttp.TraceRequestEndParams,
    ) -> None:
        self._requests.labels(str(ended.response.status)).inc()
        if ended.response.status == 429:
            self._rate_limited.inc()

    def delivered(self, job: Job, told: bool) -> None:
        """A job's owner was told how it ended, or could not be."""
        self._deliveries.labels("told" if told else "nowhere").inc()
        if job.ended_at is not None:
            self._delivered.observe(max(0.0, (datetime.now(UTC) - job.ended_at).total_seconds()))

    def _hear(self, job: Job, event: JobEvent | None) -> None:
        running = event is None and job.state is JobState.RUNNING and job in self._workers.running
        if running and job.started_at is not None:
            self._waited.observe(max(0.0, (job.started_at - job.created_at).total_seconds()))
        # what another process has drawn that one counts
        withdrawn = job.state is JobState.CANCELLED and job.started_at is None
        if job.ended and (event is not None or withdrawn):
            self._jobs.labels(job.state.value, job.action).inc()
        match event:
            case Finished() if job.ended:
                self._finished(job, event)
            case Failed() if job.state is JobState.FAILED:
                self._failures.labels(event.code).inc()

    def _finished(self, job: Job, event: Finished) -> None:
        request, worker = job.request, job.provenance.worker if job.provenance else ""
        self._made.labels(worker).observe(event.seconds)
        model = request.made_with
        if event.seconds_loading > 0:
            self._loading.labels(model).observe(event.seconds_loading)
        if job.pictures:
            self._pictures.labels(model).inc(len(job.pictures))
            steps = max(1, request.steps) * len(job.pictures)
            self._step.labels(model).observe((event.seconds - event.seconds_loading) / steps)


class _Now:
    """What is so when somebody asks."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges."""
        workers, client = self._metrics._workers, self._metrics._client

        def gauge(name: str, help_: str, value: float) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"darkroom_{name}", help_, value=value)

        yield gauge("jobs_waiting", "Jobs that wait, as far as this process knows", workers.waiting)
        yield gauge("jobs_running", "Jobs that this process's workers draw", len(workers.running))
        yield gauge("paused", "1 while nothing new is drawn", float(workers.paused))
        memory = GaugeMetricFamily(
            "darkroom_memory_bytes", "Resident memory of the bot and its children", labels=["of"]
        )
        own = psutil.Process()
        memory.add_metric(["bot"], own.memory_info().rss)
        memory.add_metric(["children"], _rss(own.children(recursive=True)))
        yield memory
        up = GaugeMetricFamily(
            "darkroom_worker_up", "1 where a worker has started", labels=["worker", "device"]
        )
        busy = GaugeMetricFamily("darkroom_worker_busy", "1 while it draws", labels=["worker"])
        free = GaugeMetricFamily(
            "darkroom_worker_memory_free_bytes",
            "Of the graphics card, when the worker started",
            labels=["worker"],
        )
        for worker in workers.workers:
            ready = worker.ready
            name = "" if ready is None else ready.device_name
            up.add_metric([worker.name, name], float(ready is not None))
            busy.add_metric([worker.name], float(worker.current is not None))
            if ready is not None:
                free.add_metric([worker.name], ready.memory_free)
        yield from (up, busy, free)
        if client is not None:
            yield from _discord(client)


def _discord(client: Any) -> Iterator[GaugeMetricFamily]:
    online = GaugeMetricFamily("darkroom_discord_online", "1 where connected", labels=["shard"])
    latency = GaugeMetricFamily(
        "darkroom_discord_latency_seconds", "Of the gateway's heartbeat", labels=["shard"]
    )
    for number, seconds in client.latencies:
        online.add_metric([str(number)], float(number in client.online_shards))
        # it is not a number before the first heartbeat
        if seconds == seconds and seconds != float("inf"):
            latency.add_metric([str(number)], seconds)
    yield from (online, latency)
    yield GaugeMetricFamily(
        "darkroom_discord_servers", "Servers that the bot is in", value=len(client.guilds)
    )


def _rss(processes: list[psutil.Process]) -> int:
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue  # it has just ended
    return total
