"""An ordered stop, asked for by the signals of a real system."""

import asyncio
import signal
import subprocess
import sys
import textwrap

import pytest

from bot.stopping import ordered_stop

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


def program(doing: str, clearing_up: str, within: float = 60.0) -> subprocess.Popen[str]:
    """A process that says when it is busy, when it clears up, and how it was asked to end."""
    code = f"""
        import asyncio, time
        from bot.stopping import ordered_stop

        async def main():
            with ordered_stop({within}) as stop:
                try:
                    try:
                        print("busy", flush=True)
                        {doing}
                    finally:
                        print("clearing up", flush=True)
                        {clearing_up}
                except asyncio.CancelledError:
                    print("stopped by", int(stop.signal), flush=True)

        asyncio.run(main())
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "busy\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_is_cancelled_and_clears_up(number: signal.Signals) -> None:
    process = program("await asyncio.sleep(600)", "await asyncio.sleep(0.1); print('cleared')")
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert out.splitlines()[-3:] == ["clearing up", "cleared", f"stopped by {number}"]
    assert process.returncode == 0


def test_what_takes_too_long_to_clear_up_is_broken_off() -> None:
    process = program("await asyncio.sleep(600)", "await asyncio.sleep(600)", within=0.2)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert out.splitlines()[-1] == f"stopped by {signal.SIGTERM}"


def test_asking_twice_means_at_once() -> None:
    process = program("await asyncio.sleep(600)", "await asyncio.sleep(600)")
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    while process.stdout.readline() != "clearing up\n":
        pass
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert out.splitlines()[-1] == f"stopped by {signal.SIGINT}"


async def test_signals_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with ordered_stop(1.0) as stop:
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert stop.signal is None
    await asyncio.sleep(0)
