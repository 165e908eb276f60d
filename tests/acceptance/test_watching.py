"""What those see who watch the bot: figures for Prometheus, whether it is ready, traces."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from functools import partial

import aiohttp
import msgspec
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from bot.app import make_client, why_not_ready
from bot.config import LogSettings, MetricsSettings
from bot.logs import configure_logging
from bot.metrics import Metrics
from bot.metrics_server import serving_metrics
from bot.storage_folder import StartError
from bot.tracing import JobTraces
from generation.elsewhere import WorkerStatus
from playground.person import Person
from tests.acceptance.conftest import Rig, connected, finished
from tests.acceptance.test_imagine import imagine
from tests.free_port import free_port
from tests.patience import PATIENCE
from tests.unit.bot.test_logs import restored as restored

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Watch:
    """Reads what the bot says of itself."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self._address = address
        self._session = session

    async def figures(self) -> Figures:
        async with self._session.get(f"{self._address}/metrics") as answer:
            assert answer.status == 200
            text = await answer.text()
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def value(self, name: str, **labels: str) -> float | None:
        return (await self.figures()).get((f"darkroom_{name}", tuple(sorted(labels.items()))))

    async def status(self, path: str) -> tuple[int, dict[str, object]]:
        async with self._session.get(f"{self._address}/{path}") as answer:
            return answer.status, json.loads(await answer.text())


@pytest.fixture
async def watch(rig: Rig) -> AsyncIterator[Watch]:
    """With the client that is watched in place of the rig's."""
    await rig.client.close()
    metrics = Metrics(rig.studio.workers)
    rig.client = make_client(rig.config, rig.studio, metrics)
    settings = MetricsSettings(port=free_port())
    reasons = partial(why_not_ready, rig.studio, rig.client)
    async with (
        connected(rig.client),
        serving_metrics(settings, metrics, reasons) as port,
        aiohttp.ClientSession() as session,
    ):
        yield Watch(f"http://127.0.0.1:{port}", session)


async def test_what_happens_is_counted(rig: Rig, watch: Watch, ada: Person, general: str) -> None:
    await imagine(ada, general, count=2)
    rig.engine.failures.append("nan_pictures")
    message = await (await ada.command(general, "imagine", prompt="a fox")).deferred()
    await ada.wait_for("MESSAGE_UPDATE", lambda m: m["id"] == message["id"] and "NaN" in str(m))
    async with asyncio.timeout(PATIENCE):
        while await watch.value("deliveries_total", outcome="told") != 2:
            await asyncio.sleep(0.02)
    value = watch.value
    assert await value("jobs_total", state="finished", action="imagine") == 1
    assert await value("jobs_total", state="failed", action="imagine") == 1
    assert await value("job_failures_total", code="nan_pictures") == 1
    assert await value("pictures_total", model="demo") == 2
    assert await value("step_seconds_count", model="demo") == 1
    step = await value("step_seconds_sum", model="demo")
    assert step is not None
    assert 0 < step < 1
    assert await value("job_waiting_seconds_count") == 2
    assert await value("job_seconds_count", worker="main") == 1
    assert await value("delivery_seconds_count") == 2
    assert await value("jobs_waiting") == 0
    assert await value("worker_up", worker="main", device="Fake") in (None, 1)
    assert await value("worker_busy", worker="main") == 0
    assert await value("discord_online", shard="0") == 1
    assert await value("discord_servers") == 1
    assert (await value("discord_requests_total", status="200") or 0) > 0
    assert (await value("memory_bytes", of="bot") or 0) > 2**20


async def test_being_told_to_wait_is_counted(
    rig: Rig, watch: Watch, ada: Person, general: str
) -> None:
    assert await watch.value("discord_rate_limited_total") == 0
    await rig.control.fault("/webhooks/", times=1, status=429, retry_after=0.05)
    await imagine(ada, general)
    assert await watch.value("discord_rate_limited_total") == 1


async def test_what_waits_and_runs_is_a_gauge(
    rig: Rig, watch: Watch, ada: Person, bo: Person, general: str
) -> None:
    gate = rig.engine.gate = asyncio.Event()
    first = await (await ada.command(general, "imagine", prompt="a fox")).deferred()
    await rig.until(lambda job: job.attempts > 0)
    second = await (await bo.command(general, "imagine", prompt="a hare")).deferred()
    assert await watch.value("jobs_running") == 1
    assert await watch.value("jobs_waiting") == 1
    assert await watch.value("worker_busy", worker="main") == 1
    rig.studio.workers.pause()
    assert await watch.value("paused") == 1
    rig.studio.workers.resume()
    gate.set()
    for message in (first, second):
        await finished(ada, general, message)


async def test_it_is_ready_once_it_can_do_its_work(
    rig: Rig, watch: Watch, ada: Person, general: str
) -> None:
    assert await watch.status("health") == (200, {"status": "alive"})
    status, said = await watch.status("ready")
    assert (status, said["reasons"]) == (503, {"worker": "not started"})
    await imagine(ada, general)
    assert await watch.status("ready") == (200, {"status": "ready", "reasons": {}})
    # one that draws nothing itself works all the same where other processes do
    await rig.studio.workers.remove("main")
    assert (await watch.status("ready"))[0] == 503
    rig.studio.workers.know_others([WorkerStatus(name="b/main")])
    assert (await watch.status("ready"))[0] == 200
    rig.client.online_shards.clear()
    status, said = await watch.status("ready")
    assert (status, said["reasons"]) == (503, {"discord": "not connected"})
    rig.client.online_shards.add(0)


async def test_a_port_that_is_taken_is_said(rig: Rig, watch: Watch) -> None:
    taken = int(watch._address.rpartition(":")[2])
    metrics = Metrics(rig.studio.workers)
    for settings, said in (
        (
            MetricsSettings(port=taken),
            rf"^\[metrics\] port = {taken}: another program listens there",
        ),
        (
            MetricsSettings(host="192.0.2.1", port=free_port()),
            r'host = "192.0.2.1" is no address of this mach',
        ),
        (
            MetricsSettings(host="no host", port=free_port()),
            r'host = "no host" is no address of this machine',
        ),
    ):
        with pytest.raises(StartError, match=said):
            async with serving_metrics(settings, metrics, dict):  # type: ignore[arg-type]
                pass
    async with serving_metrics(MetricsSettings(), metrics, dict) as port:  # type: ignore[arg-type]
        assert port == 0, "none is wanted"


async def test_a_job_is_one_trace(rig: Rig, ada: Person, general: str) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    JobTraces(tracer, rig.studio.workers, rig.client.services.delivery)
    await imagine(ada, general, prompt="a secret lighthouse")
    async with asyncio.timeout(PATIENCE):
        while len(exporter.get_finished_spans()) < 4:
            await asyncio.sleep(0.02)
    spans: dict[str, ReadableSpan] = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"job", "waiting", "making", "delivery"}
    root = spans["job"]
    assert root.parent is None
    assert {span.context.trace_id for span in spans.values() if span.context} == {
        root.context.trace_id if root.context else 0
    }
    times = [
        (spans[name].start_time or 0, spans[name].end_time or 0)
        for name in ("waiting", "making", "delivery")
    ]
    for (_, before), (begin, end) in itertools.pairwise(times):
        assert before == begin <= end
    assert (root.start_time, root.end_time) == (times[0][0], times[-1][1])
    assert dict(spans["making"].attributes or {})["darkroom.state"] == "finished"
    # what somebody wrote is theirs
    assert "lighthouse" not in msgspec.json.encode([s.to_json() for s in spans.values()]).decode()


async def test_log_lines_name_the_job_from_the_command_to_the_delivery(
    rig: Rig,
    ada: Person,
    general: str,
    restored: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(LogSettings(json=True))
    # the workers' tasks are older than that, the loggers' names are not
    await imagine(ada, general)
    async with asyncio.timeout(PATIENCE):
        written = ""
        while '"delivered"' not in written:
            await asyncio.sleep(0.02)
            written += capsys.readouterr().err
    lines = {line["event"]: line for line in map(json.loads, written.splitlines())}
    assert {lines[event]["job"] for event in ("queued", "job finished", "delivered")} == {1}
    assert isinstance(lines["queued"]["interaction"], int)
    assert "lighthouse" not in written
