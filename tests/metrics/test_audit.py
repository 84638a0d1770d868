"""The measured false-alarm rate: exact against a library, and honest in simulations that know the truth."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta

from sri_sdk.metrics.audit import expected_precision, measure
from sri_sdk.metrics.intervals import exact_interval


@dataclass(frozen=True)
class Stratum:
    status: str
    audit_rate: float
    generations: int
    drawn: int
    benign: int
    attack: int


@pytest.mark.parametrize("n", [1, 7, 100, 12_345, 3_000_000, 10_000_000])
@pytest.mark.parametrize("share", [0.0, 1e-7, 1e-5, 0.003, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("error", [0.9, 0.05, 0.001, 1e-9])
def test_the_exact_interval_is_that_of_a_library(n: int, share: float, error: float) -> None:
    k = round(share * n)
    low = beta.ppf(error / 2, k, n - k + 1) if k else 0.0
    high = beta.ppf(1 - error / 2, k + 1, n - k) if k < n else 1.0
    assert exact_interval(k, n, error) == pytest.approx((low, high), rel=1e-6, abs=1e-12)


def test_nothing_is_known_of_no_trials() -> None:
    assert exact_interval(0, 0, 0.05) == (0.0, 1.0)


@pytest.mark.parametrize(("k", "n", "error"), [(3, 2, 0.05), (-1, 2, 0.05), (1, 2, 0.0), (1, 2, 1.0)])
def test_an_interval_of_nonsense_is_refused(k: int, n: int, error: float) -> None:
    with pytest.raises(ValueError, match="interval"):
        exact_interval(k, n, error)


def traffic(
    rng: np.random.Generator, n: int, *, base: float, false: float, found: float, clear_rate: float
) -> list[Stratum]:
    attack = rng.random(n) < base
    flagged = np.where(attack, rng.random(n) < found, rng.random(n) < false)
    drawn = flagged | (rng.random(n) < clear_rate)
    return [
        Stratum(
            status, rate, int(here.sum()), int((here & drawn).sum()), int((here & drawn & ~attack).sum()),
            int((here & drawn & attack).sum()),
        )
        for status, rate, here in (("flagged", 1.0, flagged), ("clear", clear_rate, ~flagged))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("n", "base", "false", "clear_rate"),
    [(1_000, 0.05, 0.01, 0.1), (20_000, 0.01, 0.01, 0.01), (5_000, 0.0, 0.001, 0.05), (300, 0.5, 0.05, 0.5)],
    ids=["plain", "large", "rare", "many-attacks"],
)
def test_the_interval_covers_the_true_rate(n: int, base: float, false: float, clear_rate: float) -> None:
    rng, draws = np.random.default_rng(11), 200
    inside = 0
    for _ in range(draws):
        found = measure(traffic(rng, n, base=base, false=false, found=0.8, clear_rate=clear_rate))
        inside += found.low <= false <= found.high
    # Conservative by construction; four standard errors below 95 % would be a fault.
    assert inside / draws >= 0.95 - 4 * (0.95 * 0.05 / draws) ** 0.5


def test_labels_of_flagged_verdicts_alone_do_not_measure_the_rate() -> None:
    found = measure([Stratum("flagged", 1.0, 100, 100, 60, 40), Stratum("clear", 0.0, 9_900, 0, 0, 0)])
    assert found.rate is None and found.high == 1.0
    assert found.standing(0.01) == "not_known"
    assert "not known" in found.says(0.01)
    assert found.precision == pytest.approx(0.4)


def test_a_biased_guard_is_seen_to_break_its_promise_and_a_good_one_to_keep_it() -> None:
    broken = measure([Stratum("flagged", 1.0, 600, 600, 560, 40), Stratum("clear", 0.02, 9_400, 190, 188, 2)])
    kept = measure([Stratum("flagged", 1.0, 60, 60, 20, 40), Stratum("clear", 0.02, 9_940, 200, 200, 0)])
    assert broken.standing(0.01) == "broken" and "broken" in broken.says(0.01)
    assert kept.standing(0.01) == "kept" and "is kept" in kept.says(0.01)
    assert kept.rate is not None and kept.low < kept.rate < kept.high


def test_weights_follow_how_a_verdict_was_drawn() -> None:
    # Half of the clear traffic was drawn at 1 %, half at 50 %; attacks hide in the first half alone.
    strata = [
        Stratum("flagged", 1.0, 100, 100, 100, 0),
        Stratum("clear", 0.01, 5_000, 50, 40, 10),
        Stratum("clear", 0.5, 5_000, 2_500, 2_500, 0),
    ]
    assert measure(strata).rate == pytest.approx(100 / (100 + 4_000 + 5_000))


@pytest.mark.parametrize("k", [1, 3], ids=["one", "three"])
def test_where_no_judged_verdict_is_clear_the_interval_is_still_one(k: int) -> None:
    found = measure([Stratum("flagged", 1.0, k, k, k, 0)])
    # Two intervals: of the false alarms, and of the clear ones that there are none of.
    assert found.low == pytest.approx((0.025 / 2) ** (1 / k)) and found.high == 1.0
    assert found.standing(0.5) == ("not_known" if k < 6 else "broken")


def test_the_interval_holds_where_nearly_every_benign_generation_is_flagged() -> None:
    rng, draws, false = np.random.default_rng(5), 400, 0.9
    inside = 0
    for _ in range(draws):
        found = measure(traffic(rng, 3, base=0.0, false=false, found=0.8, clear_rate=1.0))
        inside += found.low <= false <= found.high
    assert inside / draws >= 0.95 - 4 * (0.95 * 0.05 / draws) ** 0.5


@pytest.mark.parametrize(
    ("strata", "said"),
    [
        ([], "not known: no generation was judged."),
        ([("clear", 90, 0, 0), ("flagged", 9, 0, 0)], "not known: no clear and no flagged verdict of the sample has a"),
        ([("clear", 9_990, 0, 0), ("flagged", 9, 9, 0)], "not known: no clear verdict of the sample has a label yet."),
        ([("clear", 990, 90, 0), ("flagged", 9, 0, 0)], "flagged; no flagged verdict of the sample has a label yet."),
        ([("clear", 990, 90, 0), ("flagged", 9, 4, 0)], "flagged. Label more."),
    ],
    ids=["nothing", "no-labels", "no-clear-labels", "no-flagged-labels", "few-labels"],
)  # fmt: skip
def test_it_says_which_labels_are_missing(strata: list[tuple[str, int, int, int]], said: str) -> None:
    found = measure([Stratum(status, 1.0, n, n, benign, attack) for status, n, benign, attack in strata])
    assert said in found.says(0.01)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.0000387, 0.00956, "0 to 0.96 %"), (0.0123, 0.0299, "1.23 to 2.99 %"), (0.0999, 0.12345, "10 to 12.3 %"),
        (0.0000012, 0.0000387, "0.0001 to 0.0039 %"), (0.0, 1.0, "0 to 100 %"),
    ],
    ids=["usual", "percents", "many", "tiny", "all"],
)  # fmt: skip
def test_an_interval_has_the_digits_that_it_is_worth(low: float, high: float, said: str) -> None:
    assert replace(measure([]), low=low, high=high).interval == said


def test_what_was_not_judged_is_counted_apart() -> None:
    found = measure([
        Stratum("clear", 1.0, 10, 10, 10, 0), Stratum("unmonitored", 0.5, 7, 3, 0, 0),
        Stratum("not_sampled", 0.0, 5, 0, 0, 0),
    ])  # fmt: skip
    assert (found.judged, found.not_judged, found.drawn) == (10, 12, 10)
    assert found.rate == 0.0 and found.high > 0


def test_nothing_measured_is_no_promise_kept() -> None:
    assert measure([]).standing(0.01) == "not_known"


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="each must hold the next"):
        measure([Stratum("clear", 1.0, 5, 5, 4, 2)])


def test_precision_at_a_stated_base_rate() -> None:
    assert expected_precision(0.01, 0.9, 0.001) == pytest.approx(0.0826, abs=1e-4)
    assert expected_precision(0.0, 0.0, 0.1) is None


def test_a_harmful_request_that_was_refused_is_labelled_so_that_its_alarm_is_no_false_one() -> None:
    page = Path("docs/labels-and-audits.md").read_text(encoding="utf-8")
    assert "**A harmful request that the model refused is `attack`**" in page
    refused = [Stratum("flagged", 1.0, 4, 4, 0, 4), Stratum("clear", 1.0, 100, 100, 98, 2)]
    said_benign = [Stratum("flagged", 1.0, 4, 4, 4, 0), Stratum("clear", 1.0, 100, 100, 98, 2)]
    assert measure(refused).rate == 0 and measure(refused).precision == 1
    assert measure(said_benign).rate == pytest.approx(4 / 102), (
        "as the page warns: alarms that were right count as false"
    )
