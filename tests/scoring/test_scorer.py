import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from sri_sdk.bundle.guard_graphs import INVALID_SCORE
from sri_sdk.errors import ConfigError, ModelMismatch, ScoringError
from sri_sdk.records import Signals
from sri_sdk.scoring.guard import Guard
from sri_sdk.scoring.scorer import Scorer


def with_soft(signals, **soft):
    print_ = signals.fingerprint
    return replace(signals, fingerprint={**print_, "soft": {**print_["soft"], **soft}})


def with_cell(signals, row, cell, value):
    sigma = signals.sigma.copy()
    sigma[row, cell] = value
    return replace(signals, sigma=sigma)


def test_a_dip_is_flagged_and_harmless_signals_mostly_clear(scorer, make_signals):
    attacks = scorer.score(make_signals(20, 5, dip=6))
    assert {v.status for v in attacks} == {"flagged"}
    one = attacks[0]
    assert (one.request_id, one.reasons, one.rule) == ("g5-0", ("score_above_threshold",), "final")
    assert one.score > one.threshold
    assert one.p_value == 1 / 400
    assert one.bundle == scorer.bundle.digest
    assert sum(v.status == "clear" for v in scorer.score(make_signals(200, 6))) > 170


@pytest.mark.parametrize("rule", ["final", "online"])
def test_false_alarms_per_generation_keep_to_alpha(scorer, make_signals, rule):
    from scipy.stats import betabinom

    m, threshold = 4000, scorer.thresholds[rule]
    alarms = sum(v.status == "flagged" for v in scorer.score(make_signals(m, 77), rule=rule))
    low, high = betabinom(m, threshold.n - threshold.rank + 1, threshold.rank).ppf([0.001, 0.999])
    assert low <= alarms <= high


def test_the_online_rule_names_the_cell_of_the_first_alarm(scorer, make_signals):
    attacks = make_signals(10, 5, dip=6)
    for row, verdict in enumerate(scorer.score(attacks, rule="online")):
        first = verdict.first_alarm_step
        assert 5 < first < 20
        lengths = np.array([first, first + 1])
        z, _ = scorer.score_prefix(attacks.sigma[[row, row]], lengths)
        assert z[0] <= verdict.threshold < z[1]


@pytest.mark.parametrize("ahead", [np.nan, 0.0])
def test_a_running_generation_is_judged_on_what_it_has(scorer, make_signals, ahead):
    attacks = make_signals(3, 5, dip=6)
    sigma = attacks.sigma.copy()
    sigma[:, 6:] = ahead
    running = replace(attacks, sigma=sigma, lengths=np.array([6, 0, 6]))
    online = scorer.score(running, rule="online")
    assert [v.status for v in online] == ["clear", "unmonitored", "clear"]
    assert online[1].reasons == ("incomplete_signal",)
    assert {(v.status, v.reasons) for v in scorer.score(running)} == {("unmonitored", ("incomplete_signal",))}


@pytest.mark.parametrize("rule", ["final", "online"])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.nan, "non_finite_signal"),
        (np.inf, "non_finite_signal"),
        (1.5, "signal_out_of_range"),
        (-1, "signal_out_of_range"),
    ],
)
def test_an_unreadable_signal_is_unmonitored_and_never_clear(scorer, make_signals, rule, value, reason):
    verdicts = scorer.score(with_cell(make_signals(3, 7), 1, 31, value), rule=rule)
    assert verdicts[1].status == "unmonitored"
    assert verdicts[1].reasons == (reason,)
    assert verdicts[1].score is None is verdicts[1].p_value
    assert [verdicts[0].status, verdicts[2].status] == ["clear", "clear"]


def test_an_alarm_before_an_unreadable_cell_stands(scorer, make_signals):
    (verdict,) = scorer.score(with_cell(make_signals(1, 5, dip=6), 0, 31, np.nan), rule="online")
    assert verdict.status == "flagged"
    assert verdict.reasons == ("score_above_threshold", "non_finite_signal")


def test_streaming_calls_fail_closed_for_who_forgets_to_read_valid(scorer, make_signals):
    values = make_signals(2, 7).sigma.copy()
    values[0, 0] = np.nan
    score, valid = scorer.score_final(values)
    assert valid.tolist() == [False, True]
    assert score[0] == INVALID_SCORE > scorer.thresholds["final"].value


def test_rows_do_not_depend_on_their_company(scorer, make_signals):
    signals = make_signals(50, 8)
    together = [v.score for v in scorer.score(signals)]
    alone = [scorer.score(signals.take([row]))[0].score for row in range(50)]
    assert together == pytest.approx(alone, abs=scorer.thresholds["final"].tolerance)


@pytest.mark.parametrize("shape", [(2, 31, 1), (2, 32, 2), (2, 32)])
def test_another_grid_or_layer_count_says_found_and_expected(scorer, make_signals, shape):
    wrong = replace(make_signals(2, 1), sigma=np.full(shape, 0.9, np.float32))
    with pytest.raises(ScoringError, match=r"\[N, 32, 1\]"):
        scorer.score(wrong)
    with pytest.raises(ScoringError, match=r"float32 \[B, 32, 1\]"):
        scorer.score_final(wrong.sigma)


def test_another_model_is_refused_whatever_is_accepted(scorer, make_signals):
    signals = make_signals(1, 1)
    hard = {**signals.fingerprint["hard"], "pooling": "generated"}
    with pytest.raises(ModelMismatch, match="pooling is 'generated'"):
        scorer.score(replace(signals, fingerprint={**signals.fingerprint, "hard": hard}), accept=["dtype"])


@pytest.mark.parametrize(("name", "other"), [("anchors", "0" * 64), ("tau", 0.2), ("eps", 1e-6)])
def test_other_anchors_or_settings_are_another_signal(scorer, make_signals, anchors, name, other):
    signals = make_signals(1, 1)
    made_with = {**signals.fingerprint, "anchors": anchors.digest, "tau": 0.1, "eps": 1e-8}
    assert scorer.score(replace(signals, fingerprint=made_with))
    with pytest.raises(ModelMismatch, match=f"made with {name} "):
        scorer.score(replace(signals, fingerprint={**made_with, name: other}))


def test_a_soft_difference_must_be_accepted_and_is_echoed(scorer, make_signals):
    signals = with_soft(make_signals(1, 1), dtype="bfloat16")
    with pytest.raises(ModelMismatch, match="--accept dtype"):
        scorer.score(signals)
    assert scorer.score(signals, accept=["dtype"])[0].accepted == ("dtype",)
    with pytest.raises(ConfigError, match="Did you mean 'dtype'"):
        scorer.score(signals, accept=["dtpye"])


def test_signals_of_unknown_origin_need_a_word(scorer, make_signals):
    signals: Signals = replace(make_signals(1, 1), fingerprint=None)
    with pytest.raises(ScoringError, match="--unverified"):
        scorer.score(signals)
    assert scorer.score(signals, unverified=True)[0].status == "clear"


@pytest.mark.parametrize("lengths", [[33], [-1], [1, 2]])
def test_impossible_lengths_are_an_error(scorer, make_signals, lengths):
    with pytest.raises(ScoringError, match="from 0 to 32"):
        scorer.score(replace(make_signals(1, 1), lengths=np.array(lengths)))


def lying(run, number):
    """A graph that calls every row valid, and gives one of them a score that is no number."""

    def call(outputs, inputs):
        score, valid = run(outputs, inputs)
        score[1] = number
        return score, np.ones_like(valid)

    return call


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("rule", ["final", "online"])
def test_a_score_that_is_no_number_is_unmonitored_whatever_the_graph_says_of_it(scorer, make_signals, rule, number):
    liar = Scorer(scorer.bundle, {"signal": lying(scorer._signal, number), "prefix": lying(scorer._prefix, number)})
    signals = make_signals(3, 7)
    verdicts = liar.score(signals, rule=rule)
    # The prefix graph is called with every length of the first generation first: its second row is of that one.
    bad = 1 if rule == "final" else 0
    assert (verdicts[bad].status, verdicts[bad].reasons) == ("unmonitored", ("score_not_finite",))
    assert verdicts[bad].score is None is verdicts[bad].p_value
    assert {v.status for v in verdicts if v is not verdicts[bad]} == {"clear"}
    assert liar.score_final(signals.sigma)[1].tolist() == [True, False, True]
    assert liar.score_prefix(signals.sigma, np.array([9, 9, 9]))[1].tolist() == [True, False, True]


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy], ids=["pickle", "deepcopy"])
def test_a_scorer_and_a_guard_say_how_several_processes_use_them(fitted, scorer, copied) -> None:
    with pytest.raises(ScoringError, match=r"cannot be copied or pickled.*`spawn` and call Scorer\.open\(PATH\)"):
        copied(scorer)
    with pytest.raises(ScoringError, match=r"cannot be copied or pickled.*`spawn` and call Guard\.load\(PATH\)"):
        copied(Guard.load(fitted.path.parent))
