"""The promises of a detector, as checks: the name of a method is the name of its check, its docstring the promise."""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from sri_sdk.bundle.guard_graphs import prefix_graph
from sri_sdk.calibrate.prefix import hold
from sri_sdk.detector import Detector
from sri_sdk.testing._detector_case import TEST, DetectorCase
from sri_sdk.testing._promises import listed
from sri_sdk.testing.check import Check, exits_are_failures
from sri_sdk.testing.planted import CELLS, LAYERS, NotChecked

CLEARLY = 0.8
"""AUROC a detector must reach on planted attacks, which are far from subtle; 0.5 is a coin."""
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
        case.one_score_per_row, case.not_constant, case.direction, case.row_order_and_company_irrelevant,
        case.input_untouched, case.wrong_length_refused, case.nan_refused, case.unfitted_refused,
        case.refit_equals_fit, case.state_is_plain, case.restored_equals, case.graph_parity,
        case.graph_scores_batches, case.prefix_at_full_length_equals_signal, case.no_pickle,
    ]  # fmt: skip
    return listed(promises, known)


class _Checks(DetectorCase):
    """Each raises ConformanceError with what was found and what is allowed."""

    # -- scores ----------------------------------------------------------------------------------------------

    def one_score_per_row(self) -> None:
        """score() turns [N, T, C] into N finite float32 numbers. Anything else gives a verdict to the wrong request,
        or to none."""  # fmt: skip
        for count in (1, 2, CELLS, TEST):
            scores = self.fitted.score(self.values(count, 2))
            found = f"{getattr(scores, 'dtype', type(scores).__name__)} {list(np.shape(scores))}"
            if not isinstance(scores, np.ndarray) or scores.dtype != np.float32 or scores.shape != (count,):
                self.fail(f"score() of {count} signals: {found}, must be float32 [{count}]")
            if not np.isfinite(scores).all():
                self.fail(f"score() of {count} signals: {int((~np.isfinite(scores)).sum())} scores are not finite")

    def not_constant(self) -> None:
        """Harmless generations get different scores. A constant detector passes most tests and never alarms."""
        scores = self.fitted.score(self.values(TEST, 2))
        distinct = len(np.unique(scores))
        if distinct < TEST // 2:
            self.fail(f"score(): {distinct} different values for {TEST} harmless signals, such as {scores.flat[0]:g}")

    def direction(self) -> None:
        """Planted attacks score higher than harmless signals. A score with the wrong sign flags the harmless and
        clears the attacks."""  # fmt: skip
        scores = np.asarray(self.fitted.score(self.both())).reshape(2, -1)
        if not np.ptp(scores):
            return  # Another check's matter.
        harmless, attacks = scores
        wins = (attacks[:, None] > harmless).mean() + 0.5 * (attacks[:, None] == harmless).mean()
        if not wins >= CLEARLY:
            self.fail(
                f"score(): AUROC {wins:.2f} on planted attacks, at least {CLEARLY:g} is needed (median of attacks "
                f"{np.median(attacks):g}, of harmless signals {np.median(harmless):g}); higher must be more suspicious"
            )

    def row_order_and_company_irrelevant(self) -> None:
        """A row's score does not depend on its batch or its place in it. Calibration scores thousands at once,
        production one, with the same threshold."""  # fmt: skip
        values = self.both()
        together = self.fitted.score(values.copy())
        shuffled = np.random.default_rng(5).permutation(len(values))
        reordered = np.empty_like(together)
        reordered[shuffled] = self.fitted.score(values[shuffled])
        alone = np.concatenate([self.fitted.score(values[i : i + 1].copy()) for i in range(len(values))])
        for how, scores in (("in another order", reordered), ("one at a time", alone)):
            self.close(f"score(): scored {how}, a score", scores, together)

    # -- manners ---------------------------------------------------------------------------------------------

    def input_untouched(self) -> None:
        """fit() and score() leave their input as it was. The same array goes to the graphs, the log and the report."""
        signals, labels = self.training(labelled=self.labelled)
        before = signals.copy()
        detector = self.make().fit(signals, labels)
        self.unmoved("fit()", signals, before)
        given = self.both()
        before = given.copy()
        detector.score(given)
        self.unmoved("score()", given, before)

    def wrong_length_refused(self) -> None:
        """score() raises ScoringError when T or C differ from the fit. Broadcast or cut, a score means nothing."""
        values = self.values(4, 2)
        for what, wrong in [
            ("T", values[:, :-1]), ("T", np.concatenate([values, values[:, -1:]], axis=1)), ("T", values[:, :1]),
            ("C", values[..., :-1]), ("C", np.concatenate([values, values[..., :1]], axis=2)),
        ]:  # fmt: skip
            found = f"score() of {list(wrong.shape)}, another {what} than the fit's [N, {CELLS}, {LAYERS}],"
            self.refuses(found, partial(self.fitted.score, wrong.copy()))

    def nan_refused(self) -> None:
        """fit() and score() raise ScoringError on NaN and infinity. NaN is not above any threshold, so it is clear."""
        for bad in (np.nan, np.inf, -np.inf):
            values = self.values(4, 2)
            values[-1, -1, -1] = bad
            self.refuses(f"score() of a signal with {bad}", partial(self.fitted.score, values))
            signals, labels = self.training(labelled=self.labelled)
            signals[3, -1, 0] = bad
            self.refuses(f"fit() on a signal with {bad}", partial(self.make().fit, signals, labels))

    def unfitted_refused(self) -> None:
        """score() before fit() raises ScoringError. A forgotten fit must not score."""
        self.refuses("score() before fit()", partial(self.make().score, self.values(4, 2)))

    # -- memory ----------------------------------------------------------------------------------------------

    def refit_equals_fit(self) -> None:
        """Fitting again on the same signals gives the same scores, bit for bit, whatever was fitted before.
        Otherwise no guard can be made twice."""  # fmt: skip
        first = self.fitted.score(self.both())
        used = self.fit(self.fit(self.make(), seed=11))
        for how, detector in (("a second detector", self.fit(self.make())), ("a detector fitted before", used)):
            self.identical(f"fit(): {how}, fitted on the same signals,", detector.score(self.both()), first)

    def state_is_plain(self) -> None:
        """state() is a mapping from names to arrays of numbers or text: no objects, no bytes of a pickle. Reading a
        guard must execute nothing."""  # fmt: skip
        state = self.fitted.state()
        if not isinstance(state, Mapping):
            self.fail(f"state(): {type(state).__name__}, must be a mapping from names to arrays")
        for key, array in state.items():
            if not isinstance(key, str) or not isinstance(array, np.ndarray):
                self.fail(f"state(): {key!r} is {type(array).__name__}, must be a name with a numpy array")
            if array.dtype.kind not in "biufcU":
                self.fail(f"state(): {key!r} has dtype {array.dtype}, allowed are numbers, bool and text")
            # Every pickle since protocol 2 begins so, and ends with a full stop.
            if array.dtype.itemsize == 1 and (raw := array.tobytes())[:1] == b"\x80" and raw[-1:] == b".":
                self.fail(f"state(): {key!r} holds {array.size} bytes that look like a pickle; store arrays instead")

    def restored_equals(self) -> None:
        """Saved, and restored in a fresh process, a detector gives the same scores bit for bit. What is not in
        state() is lost."""  # fmt: skip
        where = "in a fresh process"
        if self.unreachable:
            where = "by a fresh instance"
            warnings.warn(
                f"no fresh process: restored by a fresh instance in this process: {self.unreachable}.",
                NotChecked,
                stacklevel=2,
            )
        try:
            scores = self.restored_scores()
        except Exception as err:
            self.fail(f"restore(): restoring state() {where} failed with {type(err).__name__}: {err}", err)
        self.identical(f"restore(): restored {where}, the detector", scores, self.fitted.score(self.both()))

    # -- graphs ----------------------------------------------------------------------------------------------

    def graph_parity(self) -> None:
        """The exported graph, run by onnxruntime, gives the detector's own scores. Thresholds are set on the graph."""
        values = self.both()
        self.close("export(): drawn, a score", self.one_by_one(self.signal, values), self.fitted.score(values))

    def graph_scores_batches(self) -> None:
        """The graph scores a batch of N as it scores N batches of one: no batch size, and no other row, is drawn
        into it."""  # fmt: skip
        values = self.both()
        batch = self.ask(self.signal, values)
        self.close(f"export(): in a batch of {len(values)}, a score", batch, self.one_by_one(self.signal, values))

    def prefix_at_full_length_equals_signal(self) -> None:
        """The graph of running generations scores a whole one as the graph of finished ones does, and a part of one
        as if it stayed at its newest cell, whatever stands beyond it. The online rule rests on it."""  # fmt: skip
        run = self.run(lambda: prefix_graph(self.fitted, CELLS, LAYERS, None))
        values = self.both()
        whole = self.one_by_one(run, values, CELLS)
        self.close(f"export(): at length {CELLS}, a score", whole, self.one_by_one(self.signal, values))
        for length in (1, CELLS // 2, CELLS - 1):
            cut = values.copy()
            cut[:, length:] = np.nan
            held = self.fitted.score(hold(values, np.full(len(values), length)))
            self.close(f"export(): at length {length} of {CELLS}, a score", self.one_by_one(run, cut, length), held)

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
