"""What has just happened is known for a while."""

import pytest

from bot.recent import Recent


def test_a_key_is_there_for_so_many_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    seen = Recent(60)
    assert 1 not in seen
    assert seen.add(1)
    assert 1 in seen
    assert not seen.add(1)
    now = 161.0
    assert 1 not in seen
    assert seen.add(1)
    assert len(seen) == 1
    seen.discard(1)
    seen.discard(1)
    assert seen.add(1)
