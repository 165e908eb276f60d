"""Whether anything grows on Discord's side over many jobs: answers public and private, their views.

    python -m benchmarks.soak_delivery [--jobs 20000] [--every 1000]

The whole bot with an engine that needs no model, on a Discord that is made up. Every job is asked
for by an interaction of its own, a third of them privately, and delivered with its buttons. A line
every so many jobs; the last compares the second half with the first.
"""

import argparse
import asyncio
import gc
import logging
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import psutil
import structlog
from discord.webhook.async_ import AsyncWebhookAdapter, async_context

from benchmarks.flood import CHANNEL, MESSAGE, a_bot
from bot.client import DarkroomClient
from generation.job import InteractionToken, Job, Origin
from generation.messages import JobEvent
from generation.request import GenerationRequest

AT_ONCE: Final = 10
PRIVATE_EVERY: Final = 3
COLUMNS: Final = ("RSS MiB", "tasks", "files", "views", "locks", "tracked")
REQUEST: Final = GenerationRequest(
    prompt="a cat on green",
    model="demo",
    width=64,
    height=64,
    steps=1,
    guidance_scale=3.0,
    sampler="DPM++ 2M",
    seed=1,
)


class MadeUpWebhooks(AsyncWebhookAdapter):
    """Answers of interactions: its own rate limits are kept, the network is not asked."""

    async def request(self, route: Any, session: Any, **_options: Any) -> Any:
        """A message."""
        lock = self._locks.setdefault((route.webhook_id, route.webhook_token), asyncio.Lock())
        async with lock:
            await asyncio.sleep(0)
        return MESSAGE | {"id": "5", "author": {"id": "1", "username": "bot", "avatar": None}}


async def main() -> int:
    """Deliver the jobs and print the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--every", type=int, default=1000)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    adapter: AsyncWebhookAdapter = MadeUpWebhooks()  # type: ignore[no-untyped-call]
    async_context.set(adapter)
    lines: list[list[float]] = []
    began = time.monotonic()
    print(f"{'jobs':>7}{'seconds':>9}" + "".join(f"{name:>9}" for name in COLUMNS))
    async with a_bot() as (client, made_up):
        made_up.seconds = 0.0
        room = asyncio.Semaphore(AT_ONCE)

        def hear(job: Job, _event: JobEvent | None) -> None:
            if job.ended:
                room.release()

        client.services.workers.listen(hear)
        for number in range(1, options.jobs + 1):
            await room.acquire()
            await ask(client, number)
            if number % options.every == 0:
                while len(client.services.delivery):  # noqa: ASYNC110 - nobody tells of it
                    await asyncio.sleep(0.01)
                lines.append(look(client, adapter))
                print_line(number, time.monotonic() - began, lines[-1])
    half = len(lines) // 2
    if half:
        first, second = (
            list(map(max, zip(*part, strict=True))) for part in (lines[:half], lines[half:])
        )
        ratios = [b / max(1.0, a) for a, b in zip(first, second, strict=True)]
        print(f"{'ratio':>7}{'':>9}" + "".join(f"{ratio:>9.2f}" for ratio in ratios))
    return 0


async def ask(client: DarkroomClient, number: int) -> None:
    """One job, as somebody's interaction asks for it, written down and followed."""
    expires = datetime.now(UTC) + timedelta(minutes=15)
    origin = Origin(
        user_id=number % 50,
        user_name="somebody",
        channel_id=CHANNEL,
        private=number % PRIVATE_EVERY == 0,
        interaction=InteractionToken(application_id=1, token=f"token-{number}", expires_at=expires),
    )
    request = msgspec.structs.replace(REQUEST, seed=number)
    job = await client.services.store.jobs.add(request, origin)
    client.services.delivery.track(job)
    client.services.workers.wake(job)


def look(client: DarkroomClient, adapter: AsyncWebhookAdapter) -> list[float]:
    """Count everything, in the order of COLUMNS."""
    gc.collect()
    process, state = psutil.Process(), client._connection
    store = state._view_store
    return [
        process.memory_info().rss / 2**20,
        len(asyncio.all_tasks()),
        len(process.open_files()),
        len(store._synced_message_views)
        + sum(map(len, store._views.values()))
        + len(store._modals),
        len(adapter._locks),
        len(client.services.delivery),
    ]


def print_line(jobs: int, seconds: float, counts: Sequence[float]) -> None:
    """A line of the table."""
    columns = "".join(f"{count:>9.0f}" for count in counts)
    print(f"{jobs:>7}{seconds:>9.0f}{columns}", flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
