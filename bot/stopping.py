"""An ordered stop when the system asks for one: Ctrl-C, SIGTERM, the closing of a console."""

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import structlog

log = structlog.get_logger(__name__)

SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGBREAK")
"""Those of them that this system has; SIGBREAK is Ctrl-Break on Windows."""
CTRL_CLOSE: Final = 2
"""The first of Windows' console events after which the process is ended."""
CONSOLE_CLOSED: Final = getattr(signal, "SIGBREAK", signal.SIGTERM)
"""What the closing of a console is told as."""
PRESS_EVERY: Final = 1.0
"""Seconds between breaking off one thing and the next, once the time is up."""

Routine = Callable[[Callable[[int], int]], Any]
"""Makes a function that the kernel can call of one in Python, such as ctypes' WINFUNCTYPE(…)."""


class Kernel(Protocol):
    """What is asked of Windows' kernel32."""

    def SetConsoleCtrlHandler(self, handler: Any, add: int, /) -> int:  # noqa: N802
        """Add the handler of console events, or with `add` 0 take it back; 0 where that failed."""


class OrderedStop:
    """Whether the system has asked for an end, and what comes of it."""

    def __init__(self, task: "asyncio.Task[object]", within: float) -> None:
        self.signal: int | None = None
        """What it asked with."""
        self._task = task
        self._within = within
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def ask(self, number: int) -> None:
        """Cancel the task; asked again, or after `within` seconds, break off its clearing up."""
        if self.signal is None:
            self.signal = number
            log.info("stopping", signal=signal.Signals(number).name)
            self._timer = self._loop.call_later(self._within, self._press)
        self._task.cancel()

    def _press(self) -> None:
        log.warning("it takes too long to stop: what is under way is broken off")
        self._task.cancel()
        self._timer = self._loop.call_later(PRESS_EVERY, self._press)

    def close(self) -> None:
        """It has ended."""
        if self._timer is not None:
            self._timer.cancel()


@contextlib.contextmanager
def ordered_stop(within: float) -> Iterator[OrderedStop]:
    """Have the system's wish for an end cancel the current task, as long as the block runs.

    A stop that takes longer than `within` seconds is pressed on, one await after the other.
    """
    task = asyncio.current_task()
    assert task is not None
    stop = OrderedStop(task, within)
    if threading.current_thread() is not threading.main_thread():
        # the system speaks to the main thread alone
        yield stop
        return
    undo = [_hear(stop, number) for number in _numbers()]
    with _console_closing(stop, within):
        try:
            yield stop
        finally:
            stop.close()
            for restore in undo:
                restore()


def _numbers() -> list[signal.Signals]:
    return [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]


def _hear(stop: OrderedStop, number: signal.Signals) -> Callable[[], None]:
    """Have a signal ask for the stop; returns what undoes that."""
    loop = asyncio.get_running_loop()
    before = signal.getsignal(number)
    try:
        loop.add_signal_handler(number, stop.ask, number)
    except NotImplementedError:  # the loops of Windows
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.ask, number))

    def undo() -> None:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(number)
        signal.signal(number, before or signal.SIG_DFL)

    return undo


@contextlib.contextmanager
def _console_closing(stop: OrderedStop, within: float) -> Iterator[None]:
    """On Windows, hold up the closing of the console; elsewhere there is nothing to hold up."""
    if sys.platform != "win32":
        yield
        return
    import ctypes

    routine = ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_uint)
    with console_closing(ctypes.windll.kernel32, routine, stop, within):
        yield


@contextlib.contextmanager
def console_closing(
    kernel: Kernel, routine: Routine, stop: OrderedStop, within: float
) -> Iterator[None]:
    """Have the closing of the console, a logoff or a shutdown ask for the stop, as long as the
    block runs, and be held up until it has stopped: when the handler returns, the process is ended.

    `kernel` calls the handler in a thread of its own. It waits `within` seconds and a press more.
    """
    ended = threading.Event()
    loop = asyncio.get_running_loop()

    def handle(event: int) -> int:
        if event < CTRL_CLOSE:
            return 0  # Ctrl-C and Ctrl-Break are signals
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nothing is left to stop
            loop.call_soon_threadsafe(stop.ask, CONSOLE_CLOSED)
        ended.wait(within + PRESS_EVERY)
        return 1

    # the kernel keeps an address alone: this name keeps what lies there, until it is taken back
    handler = routine(handle)
    kernel.SetConsoleCtrlHandler(handler, 1)
    try:
        yield
    finally:
        ended.set()
        kernel.SetConsoleCtrlHandler(handler, 0)
