"""A network's weights on their way through the device, by diffusers' group offload.

A block is an element of a network's lists. Those of a UNet are so large that two of them are most
of it, so their own lists are taken. What lies outside all lists comes and goes with the network.
"""

from collections.abc import Iterator
from typing import Final, Literal

import torch
from diffusers.hooks import HookRegistry, apply_group_offloading
from torch import nn

Division = Literal["blocks", "leaves"]

BLOCK_MAX: Final = 768 * 2**20
"""Bytes of a block in half precision from which its own blocks are taken."""
LISTS: Final = (nn.ModuleList, nn.Sequential)
CPU: Final = torch.device("cpu")
HOOKS: Final = ("group_offloading", "layer_execution_tracker", "lazy_prefetch_group_offloading")
"""As diffusers names them (`diffusers/hooks/group_offloading.py`)."""


def roots(network: nn.Module) -> list[nn.Module]:
    """The modules whose own lists are streamed; the network itself where it has none."""
    return list(_roots(network)) or [network]


def _roots(module: nn.Module) -> Iterator[nn.Module]:
    lists = [child for child in module.children() if isinstance(child, LISTS) and len(child)]
    blocks = [block for one in lists for block in one]
    if any(size_of(block) > BLOCK_MAX and has_lists(block) for block in blocks):
        # each of them: their neighbours are as large
        inner = [block for block in blocks if has_lists(block)]
        inner += [child for child in module.children() if child not in lists and has_lists(child)]
        for each in inner:
            yield from _roots(each)
    elif lists:
        yield module
    else:
        for child in module.children():
            yield from _roots(child)


def has_lists(module: nn.Module) -> bool:
    """Whether it has blocks of its own, which are most of it: not a list of one small layer."""
    return 2 * _in_lists(module) > size_of(module)


def _in_lists(module: nn.Module) -> int:
    """Bytes of the weights within its lists."""
    if isinstance(module, LISTS):
        return size_of(module)
    return sum(map(_in_lists, module.children()))


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
    return rest + most, sum(sorted(_leaves(network), reverse=True)[:2])


def _leaves(network: nn.Module) -> Iterator[int]:
    """Bytes that each module has of its own; what two share, as T5's words, is the first's."""
    seen: set[int] = set()
    for module in network.modules():
        own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        yield sum(each.nbytes for each in own if id(each) not in seen)
        seen.update(map(id, own))


def start(
    network: nn.Module,
    device: torch.device,
    division: Division,
    *,
    stream: bool,
    pinned: bool,
) -> None:
    """Have its weights go through the device from now on; with a `stream`, the next ones while
    others compute. Those that are not `pinned` are for each copy, which takes longer.
    """
    for module in roots(network) if division == "blocks" else [network]:
        apply_group_offloading(
            module,
            onload_device=device,
            offload_device=CPU,
            offload_type="block_level" if division == "blocks" else "leaf_level",
            num_blocks_per_group=1 if division == "blocks" else None,
            use_stream=stream,
            low_cpu_mem_usage=stream and not pinned,
        )


def stop(network: nn.Module) -> None:
    """Take its weights back to main memory, and the hooks off."""
    for module in list(network.modules()):
        registry = getattr(module, "_diffusers_hook", None)
        hook = registry.get_hook(HOOKS[0]) if registry is not None else None
        if hook is not None:
            hook.group.offload_()
    registry = HookRegistry.check_if_exists_or_initialize(network)
    for name in HOOKS:
        registry.remove_hook(name, recurse=True)


def beside_blocks(network: nn.Module) -> list[torch.Tensor]:
    """The weights that no block has, and that are on the device while the network works."""
    streamed = {
        id(tensor)
        for module in roots(network)
        for tensor in (*module.parameters(), *module.buffers())
    }
    tensors = {id(each): each for each in (*network.parameters(), *network.buffers())}
    return [tensor for key, tensor in tensors.items() if key not in streamed]
