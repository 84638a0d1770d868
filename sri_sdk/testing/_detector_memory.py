"""Checks of what a detector learns and keeps: nothing is left over, left out or shared."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any, get_args

import numpy as np

from sri_sdk.detector import Labels
from sri_sdk.errors import ScoringError
from sri_sdk.testing._detector_case import DetectorCase
from sri_sdk.testing._detector_range import EXTREME
from sri_sdk.testing.planted import CELLS, NotChecked


class MemoryChecks(DetectorCase):
    """Each raises ConformanceError with what was found and what is allowed."""

    def refit_equals_fit(self) -> None:
        """Fitting again on the same signals gives the same scores, bit for bit, whatever was fitted before.
        Otherwise no guard can be made twice."""  # fmt: skip
        first = self.fitted.score(self.both())
        used = self.fit(self.make().fit(*self.few(seed=11)))
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

    def fewest_is_true(self) -> None:
        """fit() takes `fewest` signals, and raises ScoringError for one less. A train fold that is too small must be
        found before anything is generated."""  # fmt: skip
        fewest: Any = self.make().fewest
        if type(fewest) is not int or fewest < 1:
            self.fail(f"fewest: found {fewest!r}, must be a number of signals, 1 or more")
        # A labelled detector needs one of each kind.
        signals, labels = self.few(max(fewest, 2) if self.labelled else fewest)
        try:
            detector = self.make().fit(signals, labels)
        except ScoringError as err:
            self.fail(f"fewest: says {fewest}, and fit() refuses {len(signals)} signals ({err})", err)
        if bad := int((~np.isfinite(detector.score(self.values(CELLS, 2)))).sum()):
            self.fail(
                f"fewest: says {fewest}, and fitted on {len(signals)} signals, {bad} of {CELLS} scores are not finite"
            )
        signals, labels = self.few(fewest - 1)
        doing = f"fit() on {fewest - 1} signals, where `fewest` says {fewest},"
        self.refuses(doing, partial(self.make().fit, signals, labels))

    def labels_are_true(self) -> None:
        """A detector whose class says that it requires labels refuses to learn without; any other learns without. What
        a config lacks must be found before anything is generated."""  # fmt: skip
        said: Any = self.make().labels
        if said not in get_args(Labels):
            self.fail(f"labels: found {said!r}, allowed: {', '.join(get_args(Labels))}")
        if self.labelled and said != "required":
            self.fail(f"labels: says {said!r}, and fit() refuses signals without labels; say labels = 'required'")
        if said == "required":
            harmless, _ = self.training(labelled=False)
            self.refuses("fit() without labels, where `labels` says 'required',", partial(self.make().fit, harmless))
        if said == "optional":
            self.make().fit(*self.training(labelled=True))

    def saturated_cells_are_learnt(self) -> None:
        """Cells that are exactly at one end in every harmless signal are learnt as well as others. Such models exist,
        and 0 / 0 is not a score."""  # fmt: skip
        signals, labels = self.training(labelled=self.labelled)
        low, high = (0.0, 1.0) if self.make().domain == "sigma" else (-EXTREME, EXTREME)
        signals[:, :2], signals[:, -1, 0] = high, low
        try:
            detector = self.make().fit(signals, labels)
        except ScoringError as err:
            self.fail(f"fit(): refuses signals with some cells at one end of the domain ({err})", err)
        found = f"fit(): with cells that are {low:g} or {high:g} in every training signal,"
        for values, kind in ((signals, "such signals"), (self.wide.values, "signals over the whole range")):
            scores = detector.score(values.copy())
            if bad := int((~np.isfinite(scores)).sum()):
                self.fail(f"{found} {bad} scores of {kind} are not finite. Give each cell a least spread")
            if not np.ptp(scores):
                self.fail(f"{found} all scores of {kind} are equal")

    def detectors_share_nothing(self) -> None:
        """Fitting or restoring one detector leaves all others as they were. A service holds several guards."""
        first = self.make().fit(*self.few())
        before = first.score(self.both()).copy()
        second = self.make().fit(*self.few(seed=11))
        self.identical("fit(): after another detector was fitted, this one", first.score(self.both()), before)
        self.make().restore({name: array.copy() for name, array in second.state().items()})
        self.identical("restore(): after another detector was restored, this one", first.score(self.both()), before)
