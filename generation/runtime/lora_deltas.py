"""What a layer's tensors in a LoRA do to its weight, by method: LoRA, LoHa, LoKr, DoRA and others.

The formulas are those of the papers (arXiv 2106.09685, 2108.06098 and 2309.14859, 2402.09353 for
DoRA, 2205.05638 for IA3, 2306.07967 for GLoRA, 2306.07280 and 2311.06243 for OFT and BOFT), the
layouts of tensors those of kohya's sd-scripts, LyCORIS and peft.
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

Shape = tuple[int, ...]


class WeightChange:
    """A change of one weight of shape (out, in) or (out, in, height, width).

    A convolution of one pixel and a linear layer take each other's: only the numbers count.
    """

    reads_weight: ClassVar[bool] = False
    """Whether the change depends on the values that the weight has without it."""

    def fits(self, shape: Shape) -> bool:
        """Whether it can change a weight of that shape."""
        raise NotImplementedError

    def of(self, weight: torch.Tensor, strength: float) -> torch.Tensor:
        """The change, float32, of the shape and on the device of `weight`, which is float32."""
        raise NotImplementedError

    def add_to(self, total: torch.Tensor, weight: torch.Tensor, strength: float) -> None:
        """Add the change to `total`, which is contiguous and float32.

        `weight` is the layer's own; one of the same shape will do where none is read.
        """
        total.add_(self.of(weight, strength))


@dataclass(frozen=True)
class Rows(WeightChange):
    """Some of the outputs of a change that is made for a layer of `total`, one range after another:
    what it does to one of several layers that another program has in the place of that one.
    """

    inner: WeightChange
    ranges: tuple[tuple[int, int], ...]
    total: int

    def fits(self, shape: Shape) -> bool:
        own = sum(end - begin for begin, end in self.ranges) == shape[0]
        # what depends on the weights of all outputs can't be had of some
        return own and not self.inner.reads_weight and self.inner.fits((self.total, *shape[1:]))

    def of(self, weight: torch.Tensor, strength: float) -> torch.Tensor:
        whole = torch.zeros((self.total, *weight.shape[1:]), device=weight.device)
        change = self.inner.of(whole, strength)
        return torch.cat([change[begin:end] for begin, end in self.ranges])


def inputs_of(change: WeightChange, begin: int, end: int) -> WeightChange:
    """Some of the inputs of a change of low rank of a linear layer."""
    assert isinstance(change, LowRank)
    return replace(change, down=change.down[:, begin:end])


def rows_of(change: WeightChange, ranges: tuple[tuple[int, int], ...], total: int) -> WeightChange:
    """Some of the outputs of a change, without making the whole where that can be."""
    if isinstance(change, LowRank) and change.core is None and len(change.up) == total:
        return replace(change, up=torch.cat([change.up[begin:end] for begin, end in ranges]))
    return Rows(change, ranges, total)


@dataclass(frozen=True)
class LowRank(WeightChange):
    """LoRA and LoCon: up @ down, for convolutions with a Tucker core between them.

    down (rank, in, …), up (out, rank, …), core (rank, rank, height, width).
    """

    down: torch.Tensor
    up: torch.Tensor
    core: torch.Tensor | None
    scale: float

    def fits(self, shape: Shape) -> bool:
        rank, width = _sides(self.down)
        core = self.core
        if core is not None:
            if core.ndim < 2 or core.shape[1] != rank:
                return False
            rank, width = core.shape[0], width * math.prod(core.shape[2:])
        return (*_sides(self.up), width) == (shape[0], rank, _width(shape))

    def of(self, weight: torch.Tensor, strength: float) -> torch.Tensor:
        total = torch.zeros(weight.shape, device=weight.device)
        self.add_to(total, weight, strength)
        return total

    def add_to(self, total: torch.Tensor, weight: torch.Tensor, strength: float) -> None:
        down, up = (_flat(part, total.device) for part in (self.down, self.up))
        if self.core is not None:
            down = _with_core(self.core, down)
        total.view(total.shape[0], -1).addmm_(up, down, alpha=strength * self.scale)


@dataclass(frozen=True)
class Hadamard(WeightChange):
    """LoHa: the elementwise product of two low-rank matrices.

    w_a (out, rank), w_b (rank, in · height · width); with cores (rank, rank, height, width)
    w_a (rank, out), w_b (rank, in).
    """

    pairs: tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None], ...]
    """Of each factor w_a, w_b and the core."""
    scale: float

    def fits(self, shape: Shape) -> bool:
        return all(_pair_sides(*pair) == (shape[0], _width(shape)) for pair in self.pairs)

    def of(self, weight: torch.Tensor, strength: float) -> torch.Tensor:
        one, other = (_pair(*pair, weight.device) for pair in self.pairs)
        return one.mul_(other).mul_(strength * self.scale).view(weight.shape)


@dataclass(frozen=True)
class Kronecker(WeightChange):
    """LoKr: the Kronecker product of two matrices, each whole or of low rank.

    Of a convolution the second holds the kernel.
    """

    first: tuple[torch.Tensor, ...]
    """The matrix, or its two factors."""
    second: tuple[torch.Tensor, ...]
    """The same, or its two factors and their core."""
    scale: float

    def fits(self, shape: Shape) -> bool:
        (out, width), (other_out, other_width) = map(_factor_sides, (self.first, self.second))
        if min(out, width, other_out, other_width) < 0:
            return False
        return (out * other_out, width * other_width) == (shape[0], _width(shape))

    def of(self, weight: torch.Tensor, strength: float) -> torch.Tensor:
        first, second = (_factor(parts, weight.device) for parts in (self.first, self.second))
        return torch.kron(first * (strength * self.scale), second).view(weight.shape)


@dataclass(frozen=True)
class Replacement(WeightChange):
    """Other values in the place of the weight's, whole at any strength, as diffusers and ComfyUI
    have it.
    """

    values: torch.Tensor
    reads_weight: ClassVar[bool] = True

    def fits(self, shape: Shape) -> bool:
        return tuple(self.values.shape) == shape

    def of(self, weight: torch.Tensor, strength: float) -> torch.Tensor:
        return _on(self.values, weight.device) - weight


@dataclass(frozen=True)
class Full(WeightChange):
    """The difference itself."""

    difference: torch.Tensor

    def fits(self, shape: Shape) -> bool:
        own = self.difference
        return own.ndim > 0 and own.shape[0] == shape[0] and own.numel() == math.prod(shape)

    def of(self, weight: torch.Tensor, strength: float) -> torch.Tensor:
        return _on(self.difference, weight.device).reshape(weight.shape) * strength


@dataclass(frozen=True)
class Scaling(WeightChange):
    """IA3: each input or each output of the layer times 1 + w."""

    factors: torch.Tensor
    on_input: bool
    reads_weight: ClassVar[bool] = True

    def fits(self, shape: Shape) -> bool:
        return len(shape) > 1 and self.factors.numel() == shape[1 if self.on_input else 0]

    def of(self, weight: torch.Tensor, strength: float) -> torch.Tensor:
        factors = _on(self.factors, weight.device).flatten()
        return weight * (_along(factors, weight, 1 if self.on_input else 0) * strength)


@dataclass(frozen=True)
class Generalized(WeightChange):
    """GLoRA: weight @ a_up @ a_down + b_up @ b_down."""

    a_up: torch.Tensor
    a_down: torch.Tensor
    b_up: torch.Tensor
    b_down: torch.Tensor
    scale: float
    reads_weight: ClassVar[bool] = True

    def fits(self, shape: Shape) -> bool:
        if len(shape) < 2:
            return False
        (a_in, a_rank), a_down = _sides(self.a_up), _sides(self.a_down)
        (out, b_rank), b_down = _sides(self.b_up), _sides(self.b_down)
        return (a_in, *a_down) == (shape[1], a_rank, shape[1]) and (out, *b_down) == (
            *(shape[0], b_rank),
            _width(shape),
        )

    def of(self, weight: torch.Tensor, strength: float) -> torch.Tensor:
        a_up, a_down, b_up, b_down = (
            _flat(part, weight.device) for part in (self.a_up, self.a_down, self.b_up, self.b_down)
        )
        inputs_last = weight.movedim(1, -1) @ a_up @ a_down
        low_rank = (b_up @ b_down).view(weight.shape)
        return (inputs_last.movedim(-1, 1) + low_rank) * (strength * self.scale)


@dataclass(frozen=True)
class Rotation(WeightChange):
    """OFT and BOFT as LyCORIS and kohya have them: the outputs rotated block by block.

    blocks (count, side, side); for BOFT (stages, count, side, side), each stage of which mixes
    outputs that lie further apart. `constraint` limits the angle; 0 for none.
    """

    blocks: torch.Tensor
    rescale: torch.Tensor | None
    constraint: float
    reads_weight: ClassVar[bool] = True

    def fits(self, shape: Shape) -> bool:
        own = tuple(self.blocks.shape)
        if len(own) not in (3, 4) or own[-1] != own[-2] or own[-3] * own[-1] != shape[0]:
            return False
        if self.rescale is not None and self.rescale.numel() != shape[0]:
            return False
        # a stage mixes two blocks' halves, the next what lies twice as far apart
        furthest = 2 ** min(own[0] - 1, 64) * own[-1] if len(own) == 4 else 1
        return len(own) == 3 or (own[-1] % 2 == 0 and shape[0] % furthest == 0)

    def of(self, weight: torch.Tensor, strength: float) -> torch.Tensor:
        blocks = _on(self.blocks, weight.device)
        skew = blocks - blocks.mT
        limit, norm = self.constraint * weight.shape[0], torch.linalg.vector_norm(skew) + 1e-8
        if 0 < limit < norm:
            skew = skew * (limit / norm)
        one = torch.eye(skew.shape[-1], device=skew.device)
        turned = torch.linalg.solve(one - skew, one + skew)
        flat = weight.reshape(weight.shape[0], -1)
        if blocks.ndim == 3:
            rotated = _turned(turned, flat)
        else:
            rotated = flat
            for stage, rotations in enumerate(turned):
                apart = 2**stage * (blocks.shape[-1] // 2)
                # outputs that are `apart` from each other come to lie in one block
                rotated = _exchanged(rotated, 2, apart)
                # LyCORIS turns the other way round here
                rotated = _exchanged(_turned(rotations.mT, rotated), apart, 2)
        if self.rescale is not None:
            rotated = rotated * _on(self.rescale, weight.device).view(-1, 1)
        return (rotated - flat).mul_(strength).view(weight.shape)


@dataclass(frozen=True)
class Decomposed(WeightChange):
    """DoRA: the changed weight, rescaled to the length that was learned for each output or input.

    The strength is that of the whole change, as A1111's webui and ComfyUI have it.
    """

    inner: WeightChange
    magnitude: torch.Tensor
    by_output: bool | None
    """None to tell by the magnitude's shape: (out, 1, …) or (1, in, …)."""
    reads_weight: ClassVar[bool] = True

    def fits(self, shape: Shape) -> bool:
        axis = self._axis(shape)
        return len(shape) > 1 and self.magnitude.numel() == shape[axis] and self.inner.fits(shape)

    def of(self, weight: torch.Tensor, strength: float) -> torch.Tensor:
        changed = weight + self.inner.of(weight, 1.0)
        axis = self._axis(tuple(weight.shape))
        others = tuple(number for number in range(weight.ndim) if number != axis)
        lengths = torch.linalg.vector_norm(changed, dim=others, keepdim=True)
        wanted = _along(_on(self.magnitude, weight.device).flatten(), weight, axis)
        changed *= wanted / (lengths + torch.finfo(torch.float32).eps)
        return changed.sub_(weight).mul_(strength)

    def _axis(self, shape: Shape) -> int:
        if self.by_output is not None:
            return 0 if self.by_output else 1
        own = self.magnitude.shape
        return 0 if len(own) < 2 or own[0] == shape[0] else 1


def _on(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    return tensor.to(device, torch.float32)


def _flat(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A kernel as a matrix: its outputs by all the rest."""
    return _on(tensor, device).flatten(1)


def _width(shape: Shape) -> int:
    return math.prod(shape[1:])


def _sides(tensor: torch.Tensor) -> tuple[int, int]:
    """Of the matrix that `_flat` makes; what is none fits nowhere."""
    shape = tuple(tensor.shape)
    return (shape[0], _width(shape)) if len(shape) > 1 else (-1, -1)


def _along(factors: torch.Tensor, weight: torch.Tensor, axis: int) -> torch.Tensor:
    """A vector that broadcasts along that axis of the weight."""
    return factors.view([-1 if number == axis else 1 for number in range(weight.ndim)])


def _with_core(core: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """core (p, q, …) and down (q, in) as one matrix (p, in · …)."""
    return torch.einsum("pqk,qi->pik", _flat_core(core, down.device), down).flatten(1)


def _flat_core(core: torch.Tensor, device: torch.device) -> torch.Tensor:
    return _on(core, device).reshape(*core.shape[:2], math.prod(core.shape[2:]))


def _pair_sides(a: torch.Tensor, b: torch.Tensor, core: torch.Tensor | None) -> tuple[int, int]:
    (rows, inner), (rank, width) = _sides(a), _sides(b)
    if core is None:
        return (rows, width) if inner == rank else (-1, -1)
    if core.ndim < 2 or tuple(core.shape[:2]) != (rows, rank):
        return (-1, -1)
    return inner, width * math.prod(core.shape[2:])


def _pair(
    a: torch.Tensor, b: torch.Tensor, core: torch.Tensor | None, device: torch.device
) -> torch.Tensor:
    a, b = _flat(a, device), _flat(b, device)
    return a @ b if core is None else a.T @ _with_core(core, b)


def _factor_sides(parts: tuple[torch.Tensor, ...]) -> tuple[int, int]:
    if len(parts) == 1:
        return _sides(parts[0])
    return _pair_sides(parts[0], parts[1], parts[2] if len(parts) > 2 else None)


def _factor(parts: tuple[torch.Tensor, ...], device: torch.device) -> torch.Tensor:
    if len(parts) == 1:
        return _flat(parts[0], device)
    return _pair(parts[0], parts[1], parts[2] if len(parts) > 2 else None, device)


def _turned(blocks: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
    """Each block of outputs of the matrix turned by its own rotation."""
    count, side, _ = blocks.shape
    return torch.einsum("kji,kjp->kip", blocks, flat.view(count, side, -1)).reshape(flat.shape)


def _exchanged(flat: torch.Tensor, first: int, second: int) -> torch.Tensor:
    """Rows counted by (…, first, second) in the order of (…, second, first)."""
    grid = flat.view(-1, first, second, flat.shape[1])
    return grid.transpose(1, 2).reshape(flat.shape)
