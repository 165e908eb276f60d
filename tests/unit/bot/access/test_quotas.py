"""Pictures a day."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.access.quotas import check_quota, limit_for
from generation.refusal import Refused

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ago(**how: float) -> datetime:
    return NOW - timedelta(**how)


def test_the_best_role_counts() -> None:
    assert limit_for((1, 2, 3), {1: 5, 3: 20}, 10) == 20
    assert limit_for((1,), {1: 5}, 10) == 5
    assert limit_for((9,), {1: 5}, 10) == 10
    assert limit_for((), {}, None) is None


def test_up_to_the_limit_and_not_over_it() -> None:
    used = [(ago(hours=30), 50), (ago(hours=5), 3), (ago(hours=1), 4)]
    check_quota(3, used, 10, NOW)
    with pytest.raises(Refused) as refused:
        check_quota(4, used, 10, NOW)
    back = int((ago(hours=5) + timedelta(days=1)).timestamp()) + 1
    assert refused.value.params["when"] == f"<t:{back}:R>"


def test_one_comes_back_when_enough_is_a_day_old() -> None:
    used = [(ago(hours=5), 3), (ago(hours=1), 4)]
    with pytest.raises(Refused) as refused:
        check_quota(8, used, 8, NOW)
    back = int((ago(hours=1) + timedelta(days=1)).timestamp()) + 1
    assert refused.value.params["when"] == f"<t:{back}:R>"


def test_more_than_a_day_can_give_is_never() -> None:
    with pytest.raises(Refused, match="quota_never"):
        check_quota(11, [], 10, NOW)
