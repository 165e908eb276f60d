"""A resumed run goes on as if it had never stopped."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training.loop import Budget, Run, constant, cooldown, cosine


def _run(folder: Path) -> tuple[Run, nn.Linear]:
    torch.manual_seed(0)
    module = nn.Linear(4, 1)
    return Run(folder, module, [{"params": list(module.parameters())}], lr=0.05), module


def _train(folder: Path, steps: int) -> nn.Linear:
    run, module = _run(folder)

    def loss(step: int, progress: float) -> Tensor:
        x = torch.randn(8, 4, generator=run.generator)
        error: Tensor = (module(x) - x.sum(1, keepdim=True)).square().mean()
        return error

    run.train(loss, Budget(steps=steps), schedule=constant, warmup=1)
    return module


def test_a_run_stopped_half_way_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole", 60)
    _train(tmp_path / "halves", 30)
    halves = _train(tmp_path / "halves", 60)
    assert torch.equal(whole.weight, halves.weight)


def test_the_loss_falls_and_the_averaged_weights_are_only_lent(tmp_path: Path) -> None:
    _train(tmp_path, 200)
    run, module = _run(tmp_path)
    trained = module.weight.detach().clone()
    assert (trained - 1).abs().max() < 0.2
    with run.averaged():
        assert not torch.equal(module.weight, trained)
    assert torch.equal(module.weight, trained)


def test_an_interrupted_run_is_saved(tmp_path: Path) -> None:
    run, module = _run(tmp_path)

    def loss(step: int, progress: float) -> Tensor:
        if step == 5:
            raise KeyboardInterrupt
        return module(torch.ones(1, 4)).square().mean()  # type: ignore[no-any-return]

    with pytest.raises(KeyboardInterrupt):
        run.train(loss, Budget(steps=10))
    assert _run(tmp_path)[0].step == 5
    assert not list(tmp_path.glob("*.tmp"))


def test_a_budget_ends_by_steps_or_by_minutes() -> None:
    assert Budget(steps=10).progress(5, 1e9) == 0.5
    assert Budget(minutes=2).progress(5, 60) == 0.5
    assert Budget(minutes=2, steps=10).progress(9, 60) == 0.9
    assert Budget(minutes=0).progress(0, 0) == 1


@pytest.mark.parametrize("schedule", [cosine, cooldown])
def test_schedules_fall_from_one_to_nearly_nothing(schedule: object) -> None:
    assert callable(schedule)
    assert schedule(0.0) == 1
    assert schedule(1.0) == pytest.approx(0.02)
