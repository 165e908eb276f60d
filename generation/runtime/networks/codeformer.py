"""CodeFormer: a face is encoded, a transformer says which entries of a codebook of fine faces its
code stands for, and these are decoded, led by the encoder's features as far as is wanted.

The architecture as Zhou et al. describe it (Towards Robust Blind Face Restoration with Codebook
Lookup Transformer, 2022), over the VQGAN of Esser et al.; its modules are named as in the published
file, from whose shapes all sizes are read.
"""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Final

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  (the customary name)

GROUPS: Final = 32
EPSILON: Final = 1e-6
ATTENDED: Final = 16
"""Side in pixels of the features that see each other."""
SIDE: Final = 512
"""Of the face that is given and returned."""
HEADS: Final = 8
"""Which the file's shapes do not tell."""
NORM_EPSILON: Final = 1e-5
FileTensors = Mapping[str, torch.Tensor]


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, eps=EPSILON)


class ResBlock(nn.Module):
    """Two convolutions beside the way through."""

    def __init__(self, wide: int, out: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(wide), _norm(out)
        self.conv1 = nn.Conv2d(wide, out, 3, padding=1)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.conv_out = nn.Conv2d(wide, out, 1) if wide != out else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        found: torch.Tensor = self.conv_out(x) + h
        return found


class AttnBlock(nn.Module):
    """Each place sees all others."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.norm = _norm(wide)
        self.q, self.k, self.v = (nn.Conv2d(wide, wide, 1) for _ in range(3))
        self.proj_out = nn.Conv2d(wide, wide, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm(x)
        q, k, v = (part(h).flatten(2).transpose(1, 2) for part in (self.q, self.k, self.v))
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
        found: torch.Tensor = x + self.proj_out(seen)
        return found


class Downsample(nn.Module):
    """Half as large."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(wide, wide, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return found


class Upsample(nn.Module):
    """Twice as large."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(wide, wide, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return found


class Blocks(nn.Module):
    """A chain, `blocks`."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)


class Codebook(nn.Module):
    """What fine faces are made of."""

    def __init__(self, number: int, wide: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(number, wide)


class TransformerLayer(nn.Module):
    """One of the transformer's."""

    def __init__(self, wide: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(wide, HEADS)
        self.linear1, self.linear2 = nn.Linear(wide, hidden), nn.Linear(hidden, wide)
        self.norm1, self.norm2 = nn.LayerNorm(wide), nn.LayerNorm(wide)

    def forward(self, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        h = self.norm1(x)
        asked = h + places
        x = x + self.self_attn(asked, asked, h, need_weights=False)[0]
        found: torch.Tensor = x + self.linear2(F.gelu(self.linear1(self.norm2(x))))
        return found


class Fuse(nn.Module):
    """What is decoded, led by what was encoded."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.encode_enc = ResBlock(2 * wide, wide)
        self.scale, self.shift = (
            nn.Sequential(
                nn.Conv2d(wide, wide, 3, padding=1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(wide, wide, 3, padding=1),
            )
            for _ in range(2)
        )

    def forward(self, encoded: torch.Tensor, x: torch.Tensor, weight: float) -> torch.Tensor:
        led = self.encode_enc(torch.cat((encoded, x), 1))
        found: torch.Tensor = x + weight * (x * self.scale(led) + self.shift(led))
        return found


class CodeFormer(nn.Module):
    """The whole network. `widths` are those of its levels, from the largest picture to the
    smallest; `depth` the blocks of each.
    """

    def __init__(
        self,
        widths: Sequence[int],
        depth: int,
        codes: tuple[int, int],
        wide: int,
        hidden: int,
        layers: int,
        fused: Sequence[int],
    ) -> None:
        super().__init__()
        number, code = codes
        self.encoder = Blocks(_encoder(widths, depth, code))
        self.quantize = Codebook(number, code)
        self.generator = Blocks(_generator(widths, depth, code))
        self.position_emb = nn.Parameter(torch.zeros(ATTENDED**2, wide))
        self.feat_emb = nn.Linear(code, wide)
        self.ft_layers = nn.ModuleList(TransformerLayer(wide, hidden) for _ in range(layers))
        self.idx_pred_layer = nn.Sequential(nn.LayerNorm(wide), nn.Linear(wide, number, bias=False))
        levels = dict(zip(_sides(len(widths)), widths, strict=True))
        self.fuse_convs_dict = nn.ModuleDict({str(side): Fuse(levels[side]) for side in fused})

    def forward(self, face: torch.Tensor, weight: float) -> torch.Tensor:
        """A face (1, 3, 512, 512), from -1 to 1, restored; `weight` is how far it stays itself."""
        encoded: dict[str, torch.Tensor] = {}
        x = face
        for block in self.encoder.blocks:
            if isinstance(block, Downsample):
                encoded[str(x.shape[-1])] = x
            x = block(x)
        code = x
        h = self.feat_emb(code.flatten(2).permute(2, 0, 1))
        places = self.position_emb[:, None]
        for layer in self.ft_layers:
            h = layer(h, places)
        chosen = self.idx_pred_layer(h).argmax(-1).transpose(0, 1)
        entries = self.quantize.embedding(chosen)
        x = _in_tone_of(code, entries.transpose(1, 2).reshape(code.shape))
        before: nn.Module | None = None
        for block in self.generator.blocks:
            x = block(x)
            side = str(x.shape[-1])
            if weight > 0 and isinstance(before, Upsample) and side in self.fuse_convs_dict:
                x = self.fuse_convs_dict[side](encoded[side], x, weight)
            before = block
        return x


def _in_tone_of(told: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """`x` with the mean and spread that each channel of `told` has, as CodeFormer keeps colours."""

    def figures(of: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        spread = of.flatten(2).var(2) + NORM_EPSILON
        return of.mean((2, 3), keepdim=True), spread.sqrt()[..., None, None]

    mean, spread = figures(told)
    own, range_ = figures(x)
    return (x - own) / range_ * spread + mean


def _sides(levels: int) -> list[int]:
    return [SIDE >> level for level in range(levels)]


def _encoder(widths: Sequence[int], depth: int, code: int) -> list[nn.Module]:
    blocks: list[nn.Module] = [nn.Conv2d(3, widths[0], 3, padding=1)]
    wide = widths[0]
    for side, out in zip(_sides(len(widths)), widths, strict=True):
        for _ in range(depth):
            blocks.append(ResBlock(wide, out))
            wide = out
            if side == ATTENDED:
                blocks.append(AttnBlock(wide))
        if side != _sides(len(widths))[-1]:
            blocks.append(Downsample(wide))
    return [*blocks, *_middle(wide), _norm(wide), nn.Conv2d(wide, code, 3, padding=1)]


def _generator(widths: Sequence[int], depth: int, code: int) -> list[nn.Module]:
    wide = widths[-1]
    blocks: list[nn.Module] = [nn.Conv2d(code, wide, 3, padding=1), *_middle(wide)]
    for side, out in reversed(list(zip(_sides(len(widths)), widths, strict=True))):
        for _ in range(depth):
            blocks.append(ResBlock(wide, out))
            wide = out
            if side == ATTENDED:
                blocks.append(AttnBlock(wide))
        if side != SIDE:
            blocks.append(Upsample(wide))
    return [*blocks, _norm(wide), nn.Conv2d(wide, 3, 3, padding=1)]


def _middle(wide: int) -> list[nn.Module]:
    return [ResBlock(wide, wide), AttnBlock(wide), ResBlock(wide, wide)]


def load(state: FileTensors) -> CodeFormer:
    """The network of a file. Raises KeyError, StopIteration or RuntimeError for another layout."""
    head = "encoder.blocks"
    depth = next(n for n in range(1, 64) if f"{head}.{n}.conv.weight" in state) - 1
    levels = (SIDE // ATTENDED).bit_length()
    firsts = (1 + level * (depth + 1) for level in range(levels))
    widths = [state[f"{head}.{first}.conv1.weight"].shape[0] for first in firsts]
    embedding = state["quantize.embedding.weight"]
    layers = next(n for n in count() if f"ft_layers.{n}.norm1.weight" not in state)
    fused = sorted({int(name.split(".")[1]) for name in state if name.startswith("fuse_convs")})
    hidden, wide = state["ft_layers.0.linear1.weight"].shape
    network = CodeFormer(
        widths, depth, (embedding.shape[0], embedding.shape[1]), wide, hidden, layers, fused
    )
    network.load_state_dict(dict(state))
    return network
