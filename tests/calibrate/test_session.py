"""Evidence over a session: a bound that holds whenever one looks, against draws that break it if a step is left out."""

import numpy as np
import pytest

from sri_sdk.calibrate.conformal import Threshold
from sri_sdk.calibrate.session import BETS, SessionEvidence, largest
from sri_sdk.errors import ConfigError, ScoringError

CALIBRATION = np.arange(1, 100, dtype=np.float32)


def evidence(p_values):
    """[R, K] p-values -> [R, K] evidence, written a second time: the mixture over starts and bets as a plain sum."""
    rows, count = p_values.shape
    found = np.zeros((rows, count))
    for bet in BETS:
        logs = np.cumsum(np.log(bet) + (bet - 1) * np.log(p_values), axis=1)
        before = np.concatenate([np.zeros((rows, 1)), logs[:, :-1]], axis=1)
        starts = np.arange(1, count + 1)
        # A bet that began with generation j has grown by the product since then.
        sums = np.logaddexp.accumulate(-before - np.log(starts * (starts + 1)), axis=1)
        found += np.exp(sums + logs) / len(BETS)
    return found + 1 / (np.arange(count) + 2)


def ranked(calibration, sessions, *, against_session):
    """p-values [R, K] of sessions [R, K] against calibrations [R, n], with or without the session's own past."""
    found = np.empty(sessions.shape)
    for k in range(sessions.shape[1]):
        now = sessions[:, k : k + 1]
        count, size = (calibration >= now).sum(axis=1), calibration.shape[1] + 1
        if against_session:
            count, size = count + (sessions[:, :k] >= now).sum(axis=1), size + k
        found[:, k] = (1 + count) / size
    return found


def test_by_hand_the_first_two_generations():
    session = SessionEvidence(CALIBRATION, alpha=0.01)
    # p = 10/100; half of the money is staked from the start, the rest waits.
    first = np.mean([b * 0.1 ** (b - 1) for b in BETS])
    assert session.observe(91) == pytest.approx(first / 2 + 1 / 2)
    # p = 12/101: ten of the calibration, the one before, and itself.
    p = 12 / 101
    bets = np.array([b * p ** (b - 1) for b in BETS])
    staked = np.array([b * 0.1 ** (b - 1) for b in BETS]) / 2
    assert session.observe(90) == pytest.approx(np.mean((staked + 1 / 6) * bets) + 1 / 3)
    assert (session.generations, session.alarmed, session.level) == (2, False, 100)


def test_it_computes_the_mixture_over_all_starts_and_bets():
    rng = np.random.default_rng(0)
    scores = np.float32(rng.choice(120, size=40))
    session = SessionEvidence(CALIBRATION, alpha=0.01)
    ours = [session.observe(score) for score in scores]
    p_values = ranked(CALIBRATION[None], scores[None], against_session=True)
    np.testing.assert_allclose(ours, evidence(p_values)[0])


def test_a_harmless_session_ever_alarms_as_rarely_as_said_and_would_not_without_its_own_past():
    rng, alpha = np.random.default_rng(1), 0.05
    calibration, sessions = rng.random((800, 29)), rng.random((800, 600))
    valid, naive = (
        evidence(ranked(calibration, sessions, against_session=own)).max(axis=1) >= 1 / alpha for own in (True, False)
    )
    assert valid.mean() <= alpha
    # Two standard errors of a rate of alpha are 1.5 points.
    assert naive.mean() > alpha + 0.03


def test_a_fair_game_has_an_expectation_of_one_at_most():
    rng = np.random.default_rng(2)
    found = evidence(ranked(rng.random((20_000, 49)), rng.random((20_000, 6)), against_session=True))
    assert (found.mean(axis=0) < 1 + 4 * found.std(axis=0) / np.sqrt(len(found))).all()


def test_equal_scores_only_make_it_more_careful():
    rng = np.random.default_rng(3)
    calibration, sessions = (np.floor(4 * rng.random((4000, size))) for size in (30, 40))
    found = evidence(ranked(calibration, sessions, against_session=True))
    assert (found.max(axis=1) >= 10).mean() < 0.05


def test_three_tries_that_are_each_below_any_threshold_are_noticed_together():
    session = SessionEvidence(CALIBRATION, alpha=0.01)
    seen = [session.observe(97 + k / 10) >= 100 for k in range(8)]
    assert not any(seen[:3]) and seen[-1] and session.alarmed
    # An alarm stays, also when the evidence falls.
    for _ in range(50):
        session.observe(50)
    assert session.evidence < 100 and session.alarmed


def test_a_long_harmless_beginning_does_not_use_it_up():
    session = SessionEvidence(CALIBRATION, alpha=0.01)
    rng = np.random.default_rng(4)
    for score in rng.choice(99, size=200):
        session.observe(float(score))
    assert session.evidence < 1 and not session.alarmed
    for _ in range(12):
        session.observe(99.5)
    assert session.alarmed


def test_users_who_are_alike_within_a_session_break_the_plain_level_and_not_one_of_whole_sessions():
    rng, alpha = np.random.default_rng(5), 0.05
    calibration = np.sort(rng.normal(size=199)).astype(np.float32)

    def most(count):
        user = rng.normal(size=(count, 1))
        return np.array([largest(calibration, row) for row in (user + rng.normal(size=(count, 30)) / 3)])

    fresh = most(300)
    assert (fresh >= 1 / alpha).mean() > 3 * alpha
    level = Threshold.fit(most(199), alpha).value
    assert (fresh > level).mean() < alpha + 4 * np.sqrt(alpha / 199 + alpha / 300)
    assert SessionEvidence(calibration, level=level).level == level


def test_it_stays_finite():
    session = SessionEvidence(CALIBRATION, alpha=0.01)
    assert np.isfinite([session.observe(1000.0 + k) for k in range(2000)]).all()


def test_what_it_cannot_be_given_is_refused():
    for options in ({}, {"alpha": 0.1, "level": 10.0}):
        with pytest.raises(ConfigError, match="alpha or level"):
            SessionEvidence(CALIBRATION, **options)
    with pytest.raises(ConfigError, match="alpha is 1"):
        SessionEvidence(CALIBRATION, alpha=1)
    with pytest.raises(ScoringError, match="could not be scored"):
        SessionEvidence(CALIBRATION, alpha=0.1).observe(float("nan"))
