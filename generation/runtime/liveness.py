"""Signs of life within a long step, such as a process that hangs can't give."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from torch.nn.modules.module import register_module_forward_hook


@contextlib.contextmanager
def beating(beat: Callable[[], None], every: float) -> Iterator[None]:
    """Call `beat` at most once in `every` seconds, after a layer of whatever network has run.

    A timer in a thread would go on beating while a GPU hangs; layers do not.
    """
    last = time.monotonic()

    def after_layer(*_: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= every:
            last = now
            beat()

    hook = register_module_forward_hook(after_layer)
    try:
        yield
    finally:
        hook.remove()
