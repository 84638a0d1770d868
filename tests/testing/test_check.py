"""One check: what calling it means, and what a mark changes."""

import pytest

from sri_sdk.errors import ConformanceError
from sri_sdk.testing import Check, mark_known, run_checks


def _passes() -> None:
    pass


def _fails() -> None:
    raise ConformanceError("Thing.score(): 3 of 4 wrong.")


def _crashes() -> None:
    raise KeyError("gone")


def test_a_check_passes_silently_or_raises_what_it_found() -> None:
    Check("good", "It holds.", _passes)()
    with pytest.raises(ConformanceError, match="3 of 4 wrong"):
        Check("bad", "It holds.", _fails)()


def test_a_check_prints_as_its_name() -> None:
    assert str(Check("one-score-per-row", "It holds.", _passes)) == "one-score-per-row"


def test_a_known_failure_passes_and_one_that_passes_fails() -> None:
    good, bad = Check("good", "It holds.", _passes), Check("bad", "It holds.", _fails)
    mark_known([good, bad], {"bad": "not yet"})[1]()
    with pytest.raises(ConformanceError, match=r"good: marked as a known failure \(not yet\), but it passes. Remove"):
        mark_known([good, bad], {"good": "not yet"})[0]()


def test_a_known_failure_does_not_excuse_a_crash() -> None:
    with pytest.raises(KeyError):
        Check("crash", "It holds.", _crashes, known="not yet")()


def test_a_mark_that_names_no_check_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ConformanceError, match="no check is named bed; checks: good, bad"):
        mark_known([Check("good", "", _passes), Check("bad", "", _fails)], {"bed": "typo"})


def test_every_check_runs_whatever_the_others_say() -> None:
    checks = [Check("bad", "", _fails), Check("crash", "", _crashes), Check("good", "", _passes)]
    known = Check("known", "", _fails, known="not yet")
    results = run_checks([*checks, known])
    assert [(x.name, x.state) for x in results] == [
        ("bad", "failed"), ("crash", "crashed"), ("good", "passed"), ("known", "known"),
    ]  # fmt: skip
    assert [x.message for x in results] == [
        "Thing.score(): 3 of 4 wrong.", "KeyError: 'gone' (raised in _crashes, test_check.py, line 18)", "", "not yet",
    ]  # fmt: skip
    assert all(x.seconds >= 0 for x in results)
