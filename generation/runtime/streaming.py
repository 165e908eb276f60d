"""A network's weights on their way through the device, by diffusers' group offload.

A block is an element of a network's lists. Those of a UNet are so large that two of them are most
of it, so their own lists are taken. What lies outside all lists comes and goes with the network.
"""

from collections.abc import Iterator
from typing import Final, Literal

import torch
from torch import nn

Division = Literal["blocks", "leaves"]

BLOCK_MAX: Final = 768 * 2**20
"""Bytes of a block in half precision from which its own blocks are taken."""
LISTS: Final = (nn.ModuleList, nn.Sequential)
CPU: Final = torch.device("cpu")
HOOKS: Final = ("group_offloading", "layer_execution_tracker", "lazy_prefetch_group_offloading")
"""As diffusers names them (`diffusers/hooks/group_offloading.py`)."""


def roots(network: nn.Module, limit: int = BLOCK_MAX) -> list[nn.Module]:
    """The modules whose own lists are streamed; the network itself where it has none."""
    return list(_roots(network, limit)) or [network]


def _roots(module: nn.Module, limit: int) -> Iterator[nn.Module]:
    lists = [child for child in module.children() if isinstance(child, LISTS) and len(child)]
    blocks = [block for one in lists for block in one]
    if any(size_of(block) > limit and has_lists(block) for block in blocks):
        # each of them: their neighbours are as large
        inner = [block for block in blocks if has_lists(block)]
        inner += [child for child in module.children() if child not in lists and has_lists(child)]
        for each in inner:
            yield from _roots(each, limit)
    elif lists:
        yield module
    else:
        for child in module.children():
            yield from _roots(child, limit)


def has_lists(module: nn.Module) -> bool:
    """Whether it has blocks of its own."""
    return any(isinstance(each, LISTS) and len(each) for each in module.modules())


def size_of(module: nn.Module) -> int:
    """Bytes of its weights."""
    tensors = {id(each): each for each in (*module.parameters(), *module.buffers())}
    return sum(each.nbytes for each in tensors.values())


def need_of(network: nn.Module) -> tuple[int, int]:
    """Bytes that it needs on the device while it is streamed: block by block, leaf by leaf."""
    found = roots(network)
    streamed = sum(map(size_of, found)) if found != [network] else size_of(network)
    rest = size_of(network) - streamed
    most = 0
    for root in found:
        lists = [child for child in root.children() if isinstance(child, LISTS)]
        blocks = sorted((size_of(block) for one in lists for block in one), reverse=True)
        # one works while the next arrives
        most = max(most, size_of(root) - sum(blocks) + sum(blocks[:2]))
    leaves = sorted((_own(each) for each in network.modules()), reverse=True)
    return rest + most, sum(leaves[:2])


def _own(module: nn.Module) -> int:
    tensors = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return sum(each.nbytes for each in tensors)
