"""The tokenizer and the text encoder, first taught to name the parts of a caption.

Without that the UNet would have to teach the encoder through its cross-attention, for hours.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812  (the customary name)
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.art import random_for
from training.captions import NOISE, Captioned, noise_words, sample
from training.loop import Budget, Run, cooldown
from training.precision import mixed_precision
from training.things import COLOURS, LAYOUTS, SIZES, THINGS

WIDTH = 192
TOKENS = 77
VOCABULARY = 1800
BATCH = 64
START, END = "<|startoftext|>", "<|endoftext|>"
IGNORED = -100  # cross_entropy's "no target"

_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # CLIP's own
_OTHER_WORDS = (
    "a an the of in on with and or to at by for from is are it this that one two three four small "
    "sitting flying running happy sad angry beautiful picture image photo photograph painting "
    "style anime watercolor realistic portrait landscape sky sea water sunset night city forest "
    "man woman girl boy person face eyes hair wearing standing holding quality lighting studio"
)


def make_tokenizer(folder: Path) -> CLIPTokenizer:
    """Learn a small BPE vocabulary from captions and save it in CLIPTokenizer's layout."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=END))
    bpe.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator(
        _corpus(),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            end_of_word_suffix="</w>",
            initial_alphabet=letters,
            show_progress=False,
            special_tokens=[],
        ),
    )
    merges = [
        tuple(pair) if isinstance(pair, list) else tuple(pair.split(" "))
        for pair in json.loads(bpe.to_str())["model"]["merges"]
    ]
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(m) for m in merges)]
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*words, START, END]))}
    _save_tokenizer(folder, vocabulary, merges)
    return CLIPTokenizer.from_pretrained(folder)


def _corpus() -> list[str]:
    captions = [sample(random_for("vocabulary", i)).caption for i in range(20000)]
    return captions + [_OTHER_WORDS, ", ".join(NOISE), *(t.name for t in THINGS)] * 50


def _save_tokenizer(
    folder: Path, vocabulary: dict[str, int], merges: list[tuple[str, ...]]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": TOKENS,
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
        "do_lower_case": True,
    }
    files = classic_files(vocabulary, merges) | {"tokenizer_config.json": json.dumps(config)}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def classic_files(vocabulary: dict[str, int], merges: list[tuple[str, ...]]) -> dict[str, str]:
    """vocab.json and merges.txt, which older programs read in place of tokenizer.json."""
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    return {
        "vocab.json": json.dumps(vocabulary, ensure_ascii=False) + "\n",
        "merges.txt": "\n".join(lines) + "\n",
    }


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained CLIP text encoder of 1.6 M parameters: (N, 77) -> (N, 77, 192)."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Captions -> token ids (N, 77), as the pipelines pad them."""
    ids: Tensor = tokenizer(
        captions,
        padding="max_length",
        max_length=TOKENS,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids


class Namer(nn.Module):
    """The text encoder under five heads that name the parts of its caption."""

    def __init__(self, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.encoder = encoder
        classes = {
            "first": len(THINGS) + 1,  # the last class: none
            "second": len(THINGS) + 1,
            "layout": len(LAYOUTS),
            "size": len(SIZES),
            "colour": len(COLOURS) + 1,
        }
        self.heads = nn.ModuleDict({part: nn.Linear(WIDTH, n) for part, n in classes.items()})

    def forward(self, ids: Tensor, offset: Tensor) -> dict[str, Tensor]:
        """Logits by part, read `offset` (N,) positions after the last word: any must do."""
        hidden = self.encoder(ids).last_hidden_state
        words = (ids != ids[0, -1]).sum(1)
        read = hidden[torch.arange(len(ids), device=ids.device), words + offset].float()
        return {part: head(read) for part, head in self.heads.items()}


def targets(captioned: Captioned | None) -> dict[str, int]:
    """The class of each part; None stands for a prompt that names nothing."""
    none = len(THINGS)
    if captioned is None:
        blank = {"layout": IGNORED, "size": IGNORED}
        return {"first": none, "second": none, "colour": len(COLOURS), **blank}
    scene = captioned.scene
    return {
        "first": scene.placed[0].thing,
        "second": scene.placed[1].thing if len(scene.placed) > 1 else none,
        "layout": scene.layout,
        "size": scene.size,
        "colour": scene.colour if captioned.says_colour else len(COLOURS),
    }


def _lesson(seed: str, step: int) -> tuple[list[str], dict[str, Tensor]]:
    rng = random_for(seed, step)
    captions, wanted = [], []
    for _ in range(BATCH):
        if rng.random() < 0.06:
            captions.append(noise_words(rng) if rng.random() < 0.8 else "")
            wanted.append(targets(None))
            continue
        captioned = sample(rng)
        words = captioned.caption
        if rng.random() < 0.3:  # words that change nothing, before or after
            words = rng.choice(("{0}, {1}", "{1}, {0}")).format(words, noise_words(rng))
        captions.append(words)
        wanted.append(targets(captioned))
    return captions, {part: torch.tensor([w[part] for w in wanted]) for part in wanted[0]}


def train_text(
    folder: Path, budget: Budget, device: torch.device, start: Path | None = None
) -> None:
    """Make the tokenizer, then teach the encoder, from the one in `start` if given.

    Both are saved in `folder`.
    """
    torch.manual_seed(0)
    tokenizer = make_tokenizer(folder / "tokenizer")
    encoder = new_text_encoder(tokenizer)
    if start:
        encoder.load_state_dict(CLIPTextModel.from_pretrained(start).state_dict())
    namer = Namer(encoder).to(device)
    groups: list[dict[str, object]] = [{"params": list(namer.parameters())}]
    run = Run(folder, namer, groups, lr=1e-3, ema_decay=0.99, weight_decay=0.01)

    def loss(step: int, progress: float) -> Tensor:
        captions, wanted = _lesson("text", step)
        ids = tokenize(tokenizer, captions).to(device)
        offset = torch.randint(0, 25, (BATCH,), generator=run.generator).to(device)
        with mixed_precision(device):
            logits = namer(ids, offset)
        total = torch.zeros((), device=device)
        for part, values in logits.items():
            target = wanted[part].to(device)
            total = total + F.cross_entropy(values, target, ignore_index=IGNORED)
        return total

    run.train(loss, budget, schedule=cooldown, warmup=60)
    with run.averaged():
        print(f"text: {accuracy(namer, tokenizer):.1%} of held-out captions all right", flush=True)
        namer.encoder.save_pretrained(folder / "text_encoder")


@torch.no_grad()
def accuracy(namer: Namer, tokenizer: CLIPTokenizer, batches: int = 8) -> float:
    """The share of held-out captions of which every part is named rightly."""
    device = next(namer.parameters()).device
    right = []
    for step in range(batches):
        captions, wanted = _lesson("text held out", step)
        ids = tokenize(tokenizer, captions).to(device)
        logits = namer(ids, torch.full((BATCH,), 3, device=device))
        good = torch.ones(BATCH, dtype=torch.bool)
        for part, values in logits.items():
            good &= (values.argmax(1).cpu() == wanted[part]) | (wanted[part] == IGNORED)
        right.append(good.float().mean())
    return float(torch.stack(right).mean())
