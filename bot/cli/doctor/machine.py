"""The interpreter, torch and its device, and the computer's memory."""

import platform
import sys
from collections.abc import AsyncIterator
from typing import Final

import psutil

from bot.app import make_engines, why_no_engine
from bot.cli.doctor.finding import GIB, Finding
from bot.cli.doctor.running import how_models_run
from bot.config import Config
from generation.engines import Engine, EngineError
from generation.engines.program import ProgramEngine
from generation.messages import Ready

PYTHON_MIN, PYTHON_MAX = (3, 11), (3, 14)

MEMORY_MIN: Final = 4 * GIB


async def check_python(_config: Config) -> AsyncIterator[Finding]:
    """The interpreter."""
    found = f"{platform.python_version()} on {platform.system()} {platform.release()}"
    wrong = not PYTHON_MIN <= sys.version_info[:2] <= PYTHON_MAX
    yield Finding("Python", found, "Install Python 3.11 to 3.14." if wrong else "")


async def check_device(config: Config) -> AsyncIterator[Finding]:
    """torch and what it computes on, as each worker process sees them."""
    for name, engine in make_engines(config).items():
        if len(config.engines) > 1:
            yield Finding("worker", name)
        async for finding in _check_engine(config, name, engine):
            yield finding


async def _check_engine(config: Config, name: str, engine: Engine) -> AsyncIterator[Finding]:
    settings = config.engines[name]
    if isinstance(engine, ProgramEngine):
        yield await _check_program(engine)
        return
    try:
        ready = await engine.start()
    except EngineError as error:
        if error.failure is not None:
            yield Finding("device", settings.device, why_no_engine(error))
            return
        reason = str(error).strip().splitlines()[-1:] or ["it ended"]
        yield Finding("torch", reason[0], "Install Darkroom again.")
        return
    finally:
        await engine.stop()
    versions = ", ".join(f"{name} {version}" for name, version in ready.versions.items())
    yield Finding("torch", versions)
    yield Finding("device", f"{ready.device_name} ({ready.device}), {ready.precision}")
    yield _tuning(ready)
    yield _video_memory(ready)
    async for finding in how_models_run(config, settings, ready):
        yield finding


async def _check_program(engine: ProgramEngine) -> Finding:
    """A program that somebody runs."""
    try:
        ready = await engine.start()
    except EngineError as error:
        if error.failure is not None:
            return Finding(engine.title, engine.address, why_no_engine(error))
        mend = f"Start it at {engine.address}, or name where it runs: `address` in config.toml."
        return Finding(engine.title, str(error), mend)
    finally:
        await engine.stop()
    versions = ", ".join(f"{name} {of}".strip() for name, of in ready.versions.items())
    found = f"{engine.address}: {versions}, on {ready.device_name}"
    return Finding(engine.title, found, ready.remark)


def _tuning(ready: Ready) -> Finding:
    """What `channels_last` and `compile` do here."""
    last = "weights channels-last" if ready.channels_last else "weights as they come"
    compiled = "compiled, so first pictures take longer" if ready.compiled else "not compiled"
    return Finding("speed", f"{last}; denoisers {compiled}", ready.remark, fatal=False)


def _video_memory(ready: Ready) -> Finding:
    free = f", {ready.memory_free / GIB:.1f} GiB of it free" if ready.memory_free else ""
    found = f"{ready.memory_total / GIB:.1f} GiB{free}"
    if ready.device == "cpu":
        python, torch = f"{sys.executable} -m", ready.versions.get("torch", "").partition("+")[0]
        mend = (
            "No GPU is used: pictures of full-size models take minutes. If this machine has one,"
            f" install the build of PyTorch for it: {python} pip install uv, then {python} uv pip"
            f" install --reinstall-package torch --torch-backend auto torch=={torch}"
        )
        return Finding("VRAM", "none", mend, fatal=False)
    return Finding("VRAM", found)


async def check_memory(_config: Config) -> AsyncIterator[Finding]:
    """The computer's own memory."""
    memory = psutil.virtual_memory()
    found = f"{memory.total / GIB:.1f} GiB, {memory.available / GIB:.1f} GiB of it free"
    short = memory.available < MEMORY_MIN
    yield Finding(
        "memory",
        found,
        "Close other programs: models are loaded through it." if short else "",
        fatal=False,
    )
