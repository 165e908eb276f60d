"""The training loop that every part shares: resume, learning rate, EMA, checkpoints, progress."""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from training import checkpoint

CHECKPOINT_SECONDS = 180.0
FIRST_CHECKPOINT_SECONDS = 10.0  # then rarer and rarer
LOG_EVERY = 50  # steps
LOG_SECONDS = 10.0  # or when so long has passed, for slow machines

Schedule = Callable[[float], float]  # progress 0..1 -> factor on the learning rate
Loss = Callable[[int, float], Tensor]  # (step, progress) -> scalar


@dataclass(frozen=True)
class Budget:
    """How long to train: so many steps, or so many minutes of work, earlier runs counted in."""

    minutes: float | None = None
    steps: int | None = None

    def progress(self, step: int, seconds: float) -> float:
        """0 at the start, 1 or more when spent."""
        parts = [0.0]
        if self.minutes is not None:
            parts.append(seconds / 60 / self.minutes if self.minutes else 1.0)
        if self.steps is not None:
            parts.append(step / self.steps if self.steps else 1.0)
        return max(parts)


def cosine(progress: float) -> float:
    """Falls from 1 to 0.02 along a half cosine."""
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def constant(progress: float) -> float:
    """Stays, so that a run can be continued for ever; see `cooldown`."""
    return 1.0


def cooldown(progress: float) -> float:
    """Falls linearly to nearly nothing: the end of a warm-up, stable, decay schedule."""
    return max(0.02, 1 - progress)


class Run:
    """A training run in `folder`: weights, their moving average, optimiser, random state, step.

    Everything random in a loss comes from `generator` (on the CPU, so that a seed means the
    same on every device) or from the step number; so a resumed run goes on exactly.
    """

    def __init__(
        self,
        folder: Path,
        module: nn.Module,
        groups: list[dict[str, object]],
        *,
        lr: float,
        ema_decay: float = 0.999,
        weight_decay: float = 1e-4,
        seed: int = 0,
    ) -> None:
        self.folder = folder
        self.module = module
        self.ema_decay = ema_decay
        self.trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.device = next(iter(self.trained.values())).device
        for group in groups:
            group.setdefault("lr", lr)
        self.optimizer = torch.optim.AdamW(
            groups, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True
        )
        self.base_lrs = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.generator = torch.Generator().manual_seed(seed)
        self.step = 0
        self.seconds = 0.0
        self.ema = {name: p.detach().clone() for name, p in self.trained.items()}
        if self.path.is_file():
            self._resume()

    @property
    def path(self) -> Path:
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        checkpoint.save(
            {
                "weights": {name: p.detach() for name, p in self.trained.items()},
                "ema": self.ema,
                "optimizer": self.optimizer.state_dict(),
                "generator": self.generator.get_state(),
                "step": self.step,
                "seconds": self.seconds,
            },
            self.path,
        )

    def _resume(self) -> None:
        state = checkpoint.load(self.path, torch.device("cpu"))
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(state["weights"][name])
                self.ema[name].copy_(state["ema"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.step, self.seconds = state["step"], state["seconds"]
        print(f"{self.folder.name}: resumed at step {self.step}", flush=True)

    def train(
        self,
        loss: Loss,
        budget: Budget,
        *,
        schedule: Schedule = cosine,
        warmup: int = 100,
        snapshot: Callable[[], None] | None = None,
        snapshot_seconds: float = 600.0,
    ) -> None:
        """Train until the budget is spent; `snapshot` is called with the averaged weights in."""
        self.folder.mkdir(parents=True, exist_ok=True)
        losses: list[float] = []
        began = saved = shown = tick = logged = time.monotonic()
        self.module.train()
        try:
            while (progress := budget.progress(self.step, self.seconds)) < 1:
                factor = schedule(progress) * min(1.0, (self.step + 1) / warmup)
                losses.append(self._one_step(loss(self.step, progress), factor))
                now = time.monotonic()
                self.seconds, tick = self.seconds + now - tick, now
                if self.step % LOG_EVERY == 0 or now - logged > LOG_SECONDS:
                    self._log(losses, factor)
                    losses, logged = [], now
                if now - saved > min(CHECKPOINT_SECONDS, FIRST_CHECKPOINT_SECONDS + saved - began):
                    self.save()
                    saved = time.monotonic()
                if snapshot and now - shown > snapshot_seconds:
                    with self.averaged():
                        snapshot()
                    shown = tick = time.monotonic()  # pictures are not training time
        finally:
            self.save()
            if losses:
                self._log(losses, factor)
        if snapshot:
            with self.averaged():
                snapshot()

    def _one_step(self, loss: Tensor, factor: float) -> float:
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = base * factor
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trained.values(), 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(self.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.ema.values()), [p.detach() for p in self.trained.values()], 1 - decay
            )
        return float(loss.detach())

    def _log(self, losses: list[float], factor: float) -> None:
        line = {
            "step": self.step,
            "minutes": round(self.seconds / 60, 2),
            "loss": round(sum(losses) / len(losses), 5),
            "lr": round(factor * self.base_lrs[0], 7),
        }
        print(f"{self.folder.name}: {json.dumps(line)}", flush=True)
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The module in eval mode with the averaged weights; put back after."""
        kept = {name: p.detach().clone() for name, p in self.trained.items()}
        was_training = self.module.training
        self._put(self.ema)
        self.module.eval()
        try:
            yield
        finally:
            self._put(kept)
            self.module.train(was_training)

    def _put(self, weights: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(weights[name])
