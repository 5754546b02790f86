"""The checker of cluster/faults finds every kind of broken history, and accepts good ones."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "cluster"))

from faulttest import checker, mutations  # noqa: E402


def test_broken_histories_are_found():
    assert mutations.self_test(3) == []


@pytest.mark.parametrize("rule", sorted(checker.RULES.keys() - {"run"}))
def test_the_self_test_notices_a_missing_rule(rule, monkeypatch):
    find = checker.Verdict.find
    monkeypatch.setattr(checker.Verdict, "find", lambda self, found, *rest: found != rule and find(self, found, *rest))
    assert any(f"was not found by {rule}," in fault for fault in mutations.self_test(1, only=rule, report=lambda _: None))
