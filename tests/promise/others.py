"""Asks other conformal libraries for thresholds and p-values on the same scores. Opt-in.

    pip install --target FOLDER --no-deps crepes==0.9.1 mapie==1.6.0 nonconformist==2.1.0 pandas
    python -m tests.promise.others --packages FOLDER [--out out/promise] [--results tests/promise/others.json]

crepes and MAPIE are maintained; nonconformist is the classic, last released in 2017. Each is asked in its own words: a
regressor that predicts 0 has intervals that end at the conformal quantile of the absolute errors, here the scores.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyRegressor

from sri_sdk.calibrate.conformal import conformal_rank, p_values
from tests.promise.cases import SEED
from tests.promise.pool import collect, kept_in
from tests.promise.redraw import detector_class

CALIBRATION, FRESH, TRAIN = 1_999, 5_000, 300
ALPHAS = (0.05, 0.01, 0.005, 0.001, 0.0005)
"""The last is 1 / (1,999 + 1), the smallest that can be promised."""
Doubles = NDArray[np.float64]


def scores_of(out: Path) -> dict[str, tuple[Doubles, Doubles]]:
    """Name -> calibration scores and fresh ones, of the lab's harmless generations; positive, as errors are."""
    pool = collect(config=kept_in(out)).signals
    rows = np.random.default_rng([SEED, 200]).permutation(len(pool))
    made = {}
    for name in ("mahalanobis", "hesitation"):
        detector = detector_class(name)().bind(("sri@final",))
        values = pool.domain(detector.domain)[:, :, :1]
        detector.fit(values[rows[:TRAIN]])
        scores = detector.score(values[rows[TRAIN : TRAIN + CALIBRATION + FRESH]]).astype(np.float64)
        made[name] = scores[:CALIBRATION], scores[CALIBRATION:]
    # Rounded to two digits, so that many scores are equal.
    made["mahalanobis, rounded"] = tuple(np.round(each, 1) for each in made["mahalanobis"])  # type: ignore[assignment]
    return made


def crepes_threshold(calibration: Doubles, alpha: float) -> float:
    """Upper end of the interval around 0."""
    from crepes import ConformalRegressor

    regressor = ConformalRegressor()
    regressor.fit(calibration)
    return float(regressor.predict_int(np.zeros(1), confidence=1 - alpha)[0, 1])


def mapie_threshold(calibration: Doubles, alpha: float) -> float:
    """Upper end of the interval around 0."""
    from mapie.regression import SplitConformalRegressor

    zero = DummyRegressor(strategy="constant", constant=0.0).fit(np.zeros((2, 1)), np.zeros(2))
    regressor = SplitConformalRegressor(zero, confidence_level=1 - alpha, conformity_score="absolute", prefit=True)
    regressor.conformalize(np.zeros((len(calibration), 1)), calibration)
    return float(regressor.predict_interval(np.zeros((1, 1)))[1].ravel()[1])


def nonconformist_threshold(calibration: Doubles, alpha: float) -> float:
    """Its inverse of the absolute error."""
    from nonconformist.nc import AbsErrorErrFunc

    return float(AbsErrorErrFunc().apply_inverse(np.sort(calibration)[::-1], alpha).ravel()[-1])


THRESHOLDS: dict[str, Callable[[Doubles, float], float]] = {
    "crepes": crepes_threshold, "mapie": mapie_threshold, "nonconformist": nonconformist_threshold,
}  # fmt: skip


def compare(scores: dict[str, tuple[Doubles, Doubles]]) -> list[dict[str, Any]]:
    """What each library says, beside ours."""
    made = []
    for library, threshold in THRESHOLDS.items():
        equal, other = 0, []
        for calibration, _ in scores.values():
            for alpha in ALPHAS:
                ours = float(np.sort(calibration)[conformal_rank(len(calibration), alpha) - 1])
                try:
                    theirs: float | str = threshold(calibration, alpha)
                except Exception as err:  # What a library refuses is a finding.
                    theirs = f"refused ({type(err).__name__})"
                if theirs == ours:
                    equal += 1
                else:
                    other.append(f"{alpha:g}: {theirs if isinstance(theirs, str) else f'{theirs:g}'}")
        said = f"{equal} equal" + (f"; at alpha {', '.join(dict.fromkeys(other))}" if other else "")
        made.append(_row(library, "thresholds", len(scores) * len(ALPHAS), said))
    from crepes import ConformalClassifier

    worst = 0.0
    for calibration, fresh in scores.values():
        classifier = ConformalClassifier()
        classifier.fit(calibration)
        theirs_p = classifier.predict_p(fresh[:, None], smoothing=False)[:, 0]
        single = np.sort(calibration).astype(np.float32)
        worst = max(worst, float(np.abs(theirs_p - p_values(fresh, single)).max()))
    made.append(_row("crepes", "p-values, not smoothed", len(scores) * FRESH, f"largest difference {worst:.2g}"))
    return made


def _row(library: str, asked: str, compared: int, found: str) -> dict[str, Any]:
    return {"library": library, "version": version(library), "asked": asked, "compared": compared, "found": found}


def main(words: Sequence[str] | None = None) -> None:
    """Compares, prints and stores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, help="folder that pip installed the libraries into")
    parser.add_argument("--out", type=Path, default=Path("out/promise"), help="where the pool is kept")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "others.json")
    options = parser.parse_args(words)
    # Last, so that nothing there takes the place of what this environment has.
    sys.path.append(str(options.packages))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = {
            "calibration": CALIBRATION,
            "fresh": FRESH,
            "alphas": ALPHAS,
            "compared": compare(scores_of(options.out)),
        }
    options.results.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
