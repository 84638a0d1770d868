"""What the readers are compared on; the comparison itself is opt-in, and must not rot in between."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sri_sdk.scoring.scorer import Scorer
from tests.runtimes.made_up import many_signals, portable_detectors, write_guard


@pytest.mark.parametrize("name", [name for name, make in portable_detectors().items() if make().labels != "ignored"])
def test_a_detector_that_needs_labels_has_a_guard_to_compare_readers_on(name: str, tmp_path: Path) -> None:
    bundle, guard = write_guard(name, portable_detectors()[name], 0, tmp_path / "guard")
    scorer = Scorer.open(bundle.path)
    found = Counter(verdict.status for verdict in scorer.score(many_signals(scorer, guard, 60, 0), rule="final"))
    assert found["clear"] > 20 and found["flagged"] > 8 and found["unmonitored"] > 0
