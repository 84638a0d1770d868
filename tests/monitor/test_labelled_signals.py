"""Labelled traffic as files: the guard's own signals, bit for bit, and never anybody else's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.cli import main
from sri_sdk.errors import ConfigError
from sri_sdk.monitor.labelled_signals import export_labelled
from sri_sdk.observation import Observation, Trajectory
from sri_sdk.scoring.guard import Guard
from sri_sdk.scoring.signal_files import read_signals
from tests.monitor.make_believe import BEGIN_MS, filled, observation

BEFORE = Path(__file__).parents[1] / "upgrade/before"


@pytest.mark.parametrize("name", ["diffusion", "traffic"])
def test_what_is_exported_is_what_the_guard_measured(tmp_path: Path, name: str) -> None:
    guard, signals = BEFORE / name / "guard", read_signals(BEFORE / name / "signals.npz", "logit")
    scorer = Guard.load(guard).scorer
    verdicts = scorer.score(signals)
    seen = [
        Observation(verdict, BEGIN_MS + row, deployment="chat", trajectory=Trajectory.of(signals, row))
        for row, verdict in enumerate(verdicts)
    ]
    with filled(tmp_path / "v.db", seen) as store:
        for row, each in enumerate(seen[:8]):
            store.label(each.id, "attack" if row >= 5 else "benign", "ann")
    place = f"sqlite:///{tmp_path / 'v.db'}"
    done = CliRunner().invoke(main, ["label", place, "--export", str(tmp_path / "out"), "--guard", str(guard)])
    assert done.exit_code == 0, done.output
    attacks, harmless = (read_signals(tmp_path / "out" / file, "logit") for file in ("attacks.npz", "harmless.npz"))
    assert (len(attacks), len(harmless)) == (3, 5)
    order = {each.id: row for row, each in enumerate(seen)}
    assert np.array_equal(attacks.logit, signals.logit[[order[each] for each in attacks.ids]])
    # The very guard takes them, so they say what made them.
    again = scorer.score(attacks, accept=())
    assert [v.status for v in again] == [verdicts[order[each]].status for each in attacks.ids]


def test_traffic_of_another_guard_and_unlabelled_traffic_are_left_alone(tmp_path: Path) -> None:
    with filled(tmp_path / "v.db", [observation(BEGIN_MS, 1), observation(BEGIN_MS, 2)]) as store:
        store.label(observation(BEGIN_MS, 1).id, "attack", "ann")
        with pytest.raises(ConfigError, match="no labelled traffic of guard"):
            export_labelled(store, Bundle.read(BEFORE / "diffusion/guard/bundle"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_was_not_judged_is_left_out_and_counted(tmp_path: Path) -> None:
    guard, signals = BEFORE / "diffusion/guard", read_signals(BEFORE / "diffusion/signals.npz", "logit")
    scorer = Guard.load(guard).scorer
    whole, *_ = scorer.score(signals)
    blind = replace(whole, request_id="blind", status="unmonitored", reasons=("tap_silent",), score=None, p_value=None)
    seen = [
        Observation(verdict, BEGIN_MS + row, trajectory=Trajectory.of(signals, row))
        for row, verdict in enumerate((whole, blind))
    ]
    with filled(tmp_path / "v.db", seen) as store:
        store.label(seen[1].id, "benign", "ann")
        with pytest.raises(ConfigError, match=r"was judged \(1 were not\)"):
            export_labelled(store, scorer.bundle, tmp_path / "out")
        store.label(seen[0].id, "benign", "ann")
    place = f"sqlite:///{tmp_path / 'v.db'}"
    done = CliRunner().invoke(main, ["label", place, "--export", str(tmp_path / "out"), "--guard", str(guard)])
    assert done.exit_code == 0 and "1 labelled generations left out" in done.output, done.output
    assert read_signals(tmp_path / "out" / "harmless.npz", "logit").ids == (seen[0].id,)
