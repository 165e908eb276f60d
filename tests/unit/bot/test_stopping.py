"""An ordered stop, asked for by the signals of a real system."""

import asyncio
import gc
import signal
import subprocess
import sys
import textwrap
import weakref
from collections.abc import Callable

import pytest

from bot.stopping import CONSOLE_CLOSED, OrderedStop, console_closing, ordered_stop

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


class Routine:
    def __init__(self, function: Callable[[int], int]) -> None:
        self.function = function


class Kernel32:
    """Stands in for Windows' kernel, which keeps no reference to a handler."""

    def __init__(self) -> None:
        self.registered: weakref.ref[Routine] | None = None
        self.taken_back = False

    def SetConsoleCtrlHandler(self, handler: Routine, add: int, /) -> int:  # noqa: N802
        if add:
            self.registered = weakref.ref(handler)
        else:
            assert self.registered is not None
            self.taken_back = self.registered() is handler
        return 1

    def tell(self, event: int) -> int:
        """The handler's answer to an event; blocks as long as the handler does."""
        handler = None if self.registered is None else self.registered()
        assert handler is not None, "the handler is gone"
        return handler.function(event)


def stop_of_this_task(within: float) -> OrderedStop:
    task = asyncio.current_task()
    assert task is not None
    return OrderedStop(task, within)


@pytest.mark.parametrize("event", [2, 5, 6], ids=["close", "logoff", "shutdown"])
async def test_the_closing_of_a_console_is_held_up_until_it_has_stopped(event: int) -> None:
    kernel = Kernel32()
    stop = stop_of_this_task(600.0)
    told: asyncio.Future[int]
    with console_closing(kernel, Routine, stop, 600.0):
        gc.collect()
        told = asyncio.get_running_loop().run_in_executor(None, kernel.tell, event)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.shield(told)
        assert stop.signal == CONSOLE_CLOSED
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(told), 0.2)
        assert not kernel.taken_back
    assert await told == 1
    assert kernel.taken_back
    stop.close()


async def test_the_closing_of_a_console_is_held_up_no_longer_than_it_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bot.stopping.PRESS_EVERY", 0.0)
    kernel = Kernel32()
    stop = stop_of_this_task(600.0)
    with console_closing(kernel, Routine, stop, 0.01):
        # this thread is the loop's: nothing stops before the handler has answered
        assert kernel.tell(2) == 1
        with pytest.raises(asyncio.CancelledError):
            await asyncio.Event().wait()
    stop.close()


@pytest.mark.parametrize("event", [0, 1], ids=["Ctrl-C", "Ctrl-Break"])
async def test_keys_pressed_in_a_console_are_left_to_python(event: int) -> None:
    kernel = Kernel32()
    stop = stop_of_this_task(600.0)
    with console_closing(kernel, Routine, stop, 0.0):
        assert kernel.tell(event) == 0
        await asyncio.sleep(0)
    assert stop.signal is None


def test_elsewhere_than_on_windows_ctypes_is_not_touched() -> None:
    code = """
        import asyncio, sys
        sys.modules["ctypes"] = None  # importing it fails
        from bot.stopping import ordered_stop

        async def main():
            with ordered_stop(1.0):
                print("runs")

        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "runs\n"
