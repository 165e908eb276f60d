"""Signs of life within a long step, such as a process that hangs can't give."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch


@contextlib.contextmanager
def beating(
    networks: Iterable[torch.nn.Module],
    beat: Callable[[], None],
    every: float,
    silent: Sequence[torch.nn.Module] = (),
) -> Iterator[None]:
    """Call `beat` at most once in `every` seconds, after a block of these networks has run.

    A timer in a thread would go on beating while a GPU hangs; blocks do not. Their smallest parts
    are not asked: a UNet has 700 layers and 25 blocks. Nor are `silent` ones, and what is in them.
    """
    last = time.monotonic()

    def after_block(*_: object) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= every:
            last = now
            beat()

    blocks = {id(block): block for network in networks for block in _blocks(network)}
    for part in {part for block in silent for part in block.modules()}:
        blocks.pop(id(part), None)
    hooks = [block.register_forward_hook(after_block) for block in blocks.values()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _blocks(network: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """What stands in lists in it, and in the lists of these, such as the layers of each level."""
    yield network
    for child in network.modules():
        if isinstance(child, torch.nn.ModuleList):
            yield from (block for block in child if block is not None)
