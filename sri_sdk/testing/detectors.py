"""The promises of a detector, as checks: the name of a method is the name of its check, its docstring the promise."""

from __future__ import annotations

import ast
import inspect
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from sri_sdk.detector import Detector
from sri_sdk.testing._detector_case import TEST, Floats
from sri_sdk.testing._detector_graphs import GraphChecks
from sri_sdk.testing._detector_memory import MemoryChecks
from sri_sdk.testing._detector_range import DEPTHS, PLACES
from sri_sdk.testing._promises import listed
from sri_sdk.testing.check import Check, exits_are_failures
from sri_sdk.testing.planted import CELLS, DIP, LAYERS, NotChecked

CLEARLY = 0.8
"""AUROC a detector must reach on planted attacks, which are far from subtle; 0.5 is a coin."""
SHAPES = ((5, 1), (24, 3))
"""Cells and layers, beside the usual ones."""
PICKLES = frozenset({"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve"})


@exits_are_failures()
def detector_checks(make: Callable[[], Detector], known: Mapping[str, str] | None = None) -> list[Check]:
    """Every promise of a detector.

    Args:
        make: gives a fresh detector that is not fitted; a class whose options all have defaults will do.
        known: strict known failures: name of a check -> why it fails.

    Raises:
        ConformanceError: `known` names no check.
    """
    case = _Checks(make)
    promises = [
        case.one_score_per_row, case.every_signal_can_be_scored, case.not_constant, case.direction,
        case.row_order_and_company_irrelevant, case.options_are_kept, case.input_untouched,
        case.scoring_changes_nothing, case.process_untouched, case.wrong_length_refused, case.nan_refused,
        case.unfitted_refused, case.refit_equals_fit, case.detectors_share_nothing, case.fewest_is_true,
        case.labels_are_true,
        case.saturated_cells_are_learnt, case.state_is_plain, case.restored_equals, case.graph_parity,
        case.graph_scores_batches, case.prefix_at_full_length_equals_signal, case.other_shapes, case.no_pickle,
    ]  # fmt: skip
    return listed(promises, known)


class _Checks(MemoryChecks, GraphChecks):
    """Each raises ConformanceError with what was found and what is allowed."""

    # -- scores ----------------------------------------------------------------------------------------------

    def one_score_per_row(self) -> None:
        """score() turns [N, T, C] into N finite float32 numbers. Anything else gives a verdict to the wrong request,
        or to none."""  # fmt: skip
        for count in (1, 2, CELLS, TEST):
            values = self.values(count, 2)
            self.is_scores(self.fitted.score(values.copy()), values)

    def every_signal_can_be_scored(self) -> None:
        """Every signal of the domain has a finite score, also where cells are exactly at one end of it. An infinite
        score makes the generation unmonitored."""  # fmt: skip
        values, kinds = self.wide
        scores = self.score(values)
        bad = np.flatnonzero(~np.isfinite(scores))
        if bad.size:
            self.fail(
                f"score(): {bad.size} of {len(scores)} scores are not finite, such as {scores[bad[0]]:g} of a signal "
                f"with {kinds[bad[0]]}; limit what is divided, exponentiated or put into a logarithm"
            )

    def not_constant(self) -> None:
        """Harmless generations get different scores. A constant detector passes most tests and never alarms."""
        scores = self.fitted.score(self.values(TEST, 2))
        distinct = len(np.unique(scores))
        if distinct < TEST // 2:
            self.fail(f"score(): {distinct} different values for {TEST} harmless signals, such as {scores.flat[0]:g}")

    def direction(self) -> None:
        """Planted attacks score higher than harmless signals. A score with the wrong sign flags the harmless and
        clears the attacks."""  # fmt: skip
        scores = np.asarray(self.score(self.both())).reshape(2, -1)
        if not np.ptp(scores):
            return  # Another check's matter.
        harmless, attacks = scores
        # Deeper ones too: a score that turns around, or wraps, clears just what is furthest from harmless.
        tried = {f"of depth {DIP:g}": attacks}
        tried |= {f"of depth {depth:g}": self.score(self.values(TEST, 3, depth)) for depth in DEPTHS}
        if not self.labelled:  # One that was shown attacks looks where these were.
            tried |= {f"whose dip is at {at:g} of 1": self.score(self.values(TEST, 3, DIP, at)) for at in PLACES}
        for what, found in tried.items():
            wins = (found[:, None] > harmless).mean() + 0.5 * (found[:, None] == harmless).mean()
            if not wins >= CLEARLY:
                self.fail(
                    f"score(): AUROC {wins:.2f} on planted attacks {what}, at least {CLEARLY:g} is needed "
                    f"(median of attacks {np.median(found):g}, of harmless signals {np.median(harmless):g}); higher "
                    "must be more suspicious"
                )

    def row_order_and_company_irrelevant(self) -> None:
        """A row's score does not depend on its batch or its place in it. Calibration scores thousands at once,
        production one, with the same threshold."""  # fmt: skip
        values, kinds = self.wide
        together = self.score(values)
        shuffled = np.random.default_rng(5).permutation(len(values))
        reordered = np.empty_like(together)
        reordered[shuffled] = self.fitted.score(values[shuffled])
        alone = np.array([self.fitted.score(values[i : i + 1].copy())[0] for i in range(len(values))])
        columns = self.fitted.score(np.asfortranarray(values)).copy()
        for how, scores in (("in another order", reordered), ("one at a time", alone), ("column by column", columns)):
            self.close(f"score(): scored {how}, a score", scores, together, kinds)

    def options_are_kept(self) -> None:
        """Built with other options, a detector has these as its `config`. One that drops them does what no operator
        asked for, under a fingerprint that says otherwise."""  # fmt: skip
        kind, usual = type(self.make()), self.make().config
        for name, value in usual:
            for other in (value + 1, value / 2) if type(value) in (int, float) else ():
                with suppress(ValidationError):
                    given = type(usual).model_validate({**dict(usual), name: other})
                    found = kind(given).config
                    if getattr(found, name, None) != other:
                        self.fail(
                            f"__init__(): built with {name} {other!r}, its config says {getattr(found, name, None)!r}; "
                            "pass `config` on to super().__init__()"
                        )

    # -- manners ---------------------------------------------------------------------------------------------

    def input_untouched(self) -> None:
        """fit() and score() leave their input as it was. The same array goes to the graphs, the log and the report."""
        signals, labels = self.few()
        marks = None if labels is None else labels.copy()
        detector = self.make()
        self._reads_only("fit()", signals, lambda given: detector.fit(given, labels))
        if labels is not None and marks is not None and not np.array_equal(labels, marks):
            self.fail(f"fit() changes its labels: {int((labels != marks).sum())} of {len(labels)}. Copy them first")
        self._reads_only("score()", self.both(), self.fitted.score)

    def _reads_only(self, doing: str, values: Floats, call: Callable[[Floats], Any]) -> None:
        """Fails where the call writes into signals [N, T, C], and be it for a moment."""
        given = values.copy()
        given.flags.writeable = False
        try:
            call(given)
        except ValueError as err:
            given = values.copy()
            call(given)
            self.unmoved(doing, given, values)
            # It puts back what it wrote. Arrays that are mapped from a file, or shared, cannot be written at all.
            self.fail(f"{doing} fails on a read-only array ({err}). Copy it first", err)

    def scoring_changes_nothing(self) -> None:
        """score() changes neither the detector nor the scores it returned before. Thresholds hold for the detector that
        was calibrated."""  # fmt: skip
        detector = self.fitted
        state = {name: array.copy() for name, array in detector.state().items()}
        first = detector.score(self.both())
        kept = first.copy()
        for values in (self.values(TEST, 5), self.wide.values[::-1]):
            detector.score(values.copy())
        self.identical("score(): after the next call, scores returned before differ: it", first, kept)
        self.identical("score(): asked again after other signals, it", detector.score(self.both()), kept)
        for name, array in detector.state().items():
            if name not in state or array.tobytes() != state[name].tobytes():
                self.fail(f"score() changes {name!r} of state(); only fit() and restore() may")

    def process_untouched(self) -> None:
        """fit() and score() leave the random numbers and the error settings of the process alone. What else runs there
        would change with a guard."""  # fmt: skip
        signals, labels = self.few()
        calls: dict[str, Callable[[], object]] = {
            "fit()": lambda: self.make().fit(signals, labels), "score()": lambda: self.score(self.both()),
        }  # fmt: skip
        for doing, call in calls.items():
            with _other_numbers():
                before = _process()
                call()
                after = _process()
            for name in before:
                if after[name] != before[name]:
                    self.fail(f"{doing} changes {name}; draw from np.random.default_rng(seed), and restore settings")

    def wrong_length_refused(self) -> None:
        """score() raises ScoringError when T or C differ from the fit. Broadcast or cut, a score means nothing."""
        values = self.values(4, 2)
        for what, wrong in [
            ("T", values[:, :-1]), ("T", np.concatenate([values, values[:, -1:]], axis=1)), ("T", values[:, :1]),
            ("C", values[..., :-1]), ("C", np.concatenate([values, values[..., :1]], axis=2)),
        ]:  # fmt: skip
            found = f"score() of {list(wrong.shape)}, another {what} than the fit's [N, {self.cells}, {self.layers}],"
            self.refuses(found, partial(self.fitted.score, wrong.copy()))

    def nan_refused(self) -> None:
        """fit() and score() raise ScoringError on NaN and infinity. NaN is not above any threshold, so it is clear."""
        for bad in (np.nan, np.inf, -np.inf):
            for place in ((0, 0, 0), (1, CELLS // 2, -1), (-1, -1, -1)):
                where = f"in cell {place[1] % CELLS}, layer {place[2] % LAYERS}"
                values = self.values(4, 2)
                values[place] = bad
                self.refuses(f"score() of a signal with {bad} {where}", partial(self.fitted.score, values))
                signals, labels = self.training(labelled=self.labelled)
                signals[place] = bad
                self.refuses(f"fit() on a signal with {bad} {where}", partial(self.make().fit, signals, labels))

    def unfitted_refused(self) -> None:
        """score() before fit() raises ScoringError. A forgotten fit must not score."""
        self.refuses("score() before fit()", partial(self.make().score, self.values(4, 2)))

    def other_shapes(self) -> None:
        """Fitted on another number of cells or layers, a detector scores, draws and refuses as well. Operators choose
        both, and one layer is what most have."""  # fmt: skip
        for cells, layers in SHAPES:
            case = _Checks(self.make, cells, layers)
            for values in (case.values(1, 2), case.values(TEST, 2)):
                case.is_scores(case.fitted.score(values), values)
            case.graph_parity()
            case.wrong_length_refused()

    def no_pickle(self) -> None:
        """The detector's module imports no pickle, joblib or the like, and allows none to be loaded. A guard that
        unpickles runs a stranger's code."""  # fmt: skip
        try:
            path = inspect.getsourcefile(type(self.make()))
        except (OSError, TypeError):
            # A class of a module without a file, such as one typed into a console.
            warnings.warn("source not read: the class has no file", NotChecked, stacklevel=2)
            return
        if path is None:
            self.fail("fit(): its source cannot be read, so nobody can say what it executes; ship it as source")
        for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.keyword) and node.arg == "allow_pickle" and getattr(node.value, "value", True):
                names = ["pickle"]
            if found := sorted({name.partition(".")[0] for name in names} & PICKLES):
                line = getattr(node, "lineno", 0)
                self.fail(f"state(): {path}, line {line}, uses {found[0]}; keep what fit() learns as plain arrays")


@contextmanager
def _other_numbers() -> Iterator[None]:
    """The global random numbers where nobody else would put them: a seed that was set before is noticed again."""
    kept = np.random.get_state(), random.getstate()
    np.random.seed(20_402)
    random.seed(20_402)
    try:
        yield
    finally:
        np.random.set_state(kept[0])
        random.setstate(kept[1])


def _process() -> dict[str, str]:
    """What is everybody's in this process."""
    return {
        "numpy's global random numbers": repr(np.random.get_state()),
        "the random numbers of `random`": repr(random.getstate()),
        "numpy's error settings": repr(np.geterr()),
    }
