"""Runs a local Discord as a child process, for tests and for the bot's own use."""

# ruff: noqa: N818  (named for what happened, as in Discord's own list)

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from .server import Addresses

START_WITHIN = 30.0
END_WITHIN = 10.0
"""Seconds."""


class DidNotStart(Exception):
    """The process ended or stayed silent instead of saying where it listens."""


@asynccontextmanager
async def local_discord(
    *arguments: str, data: Path | None = None, port: int = 0
) -> AsyncIterator[Addresses]:
    """`async with local_discord() as discord: …` with `discord.url`, `.api`, `.gateway`, `.token`.

    `arguments` are further ones of `python -m playground`. It ends when its stdin is closed.
    """
    command = ["--port", str(port), "--until-stdin-closes", *arguments]
    if data is not None:
        command += ["--data", str(data)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "playground",
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield await _addresses(process.stdout)
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(END_WITHIN):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        except asyncio.CancelledError:
            process.kill()
            raise


async def _addresses(stdout: asyncio.StreamReader) -> Addresses:
    try:
        async with asyncio.timeout(START_WITHIN):
            line = await stdout.readline()
    except TimeoutError:
        line = b""
    if not line:
        raise DidNotStart(f"The local Discord did not start within {START_WITHIN:.0f} s.")
    return Addresses(**json.loads(line))
