"""Canaries, drift and a shadow on the lab: from one process to the next, and with a model that changes."""

import json
import shutil

import numpy as np
import pytest
from sri_plugin_lab import models

from sri_sdk.capture.drive import drive
from sri_sdk.capture.settings import watch_settings
from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError
from sri_sdk.fitting.canary_state import STATE, State
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.fit import fit
from sri_sdk.monitor.lookout import LOOKS, Lookout
from sri_sdk.monitor.lookout_settings import CanariesSection, DriftSection, HarmfulSection, HarmlessSection
from sri_sdk.monitor.shadow import ShadowGuard
from sri_sdk.observation import Observation
from sri_sdk.policy import Debounce, Policy
from sri_sdk.records import Verdict
from sri_sdk.scoring.guard import Guard
from sri_sdk.serve.settings import ShadowSection

from ..fitting.conftest import SMALL, write_config

FOLDS = {**SMALL["folds"], "calibration": {"split": "calibration", "harmless": 60}, "test": None}
FRAME = {"batch_size": 33, "folds": FOLDS, "detector": {"name": "mahalanobis"}}
ASKS = CanariesSection(
    every_s=60,
    harmful=HarmfulSection(split="test", count=2, prompts=24),
    harmless=HarmlessSection(split="test", count=10),
)


class Place:
    """The lab's small deployment and its guard."""

    def __init__(self, folder):
        self.folder, self.config = folder / "guard", load_config(folder / "small.yaml")
        self.guard, self.live = Guard.load(self.folder), Deployment.open(self.config)
        self.state = folder / "state"

    def lookout(self, canaries=ASKS, drift=None, policy=None, **more):
        more = {"folder": self.folder, "state": self.state, "config": self.config, **more}
        return Lookout.open(
            canaries, drift, scorer=self.guard.scorer, policy=policy or Policy.observe(), **more
        )  # fmt: skip

    def generate(self, prompts, rule="final"):
        settings = watch_settings(
            self.live.hook, self.guard, policy=Policy.observe(rule), sampler=self.live.fingerprint.hard["sampler"],
            fingerprint=self.live.fingerprint,
        )  # fmt: skip
        driven = drive(self.live.hook, self.live.loaded, self.live.sampler, prompts, settings)
        for _ in driven:
            pass
        return driven.run

    def once(self, lookout, now, rule="final"):
        """All that is due, as a monitor runs it."""
        due = lookout.due(now)
        if due:
            run = self.generate([each.prompt for each in due], rule)
            lookout.ran([Observation(verdict, 1, kind="canary") for verdict in run.verdicts], run.signals)
        return due


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    fit(load_config(write_config(folder, **FRAME)))
    return folder


@pytest.fixture
def place(home, tmp_path):
    """The guard, without what was done with it before."""
    shutil.copytree(home / "guard", tmp_path / "guard", ignore=shutil.ignore_patterns("cache"))
    write_config(tmp_path, **FRAME)
    return Place(tmp_path)


def canaries_of(place) -> list[dict]:
    """What is kept of its canaries, whichever file has it."""
    return State.load(place.folder / STATE).model_dump()["canaries"]


def test_a_model_that_is_swapped_is_found_by_few_canaries_and_the_next_process_knows(place):
    lookout = place.lookout()
    for now in (0, 60):
        place.once(lookout, now)
    assert lookout.drift is None and lookout.findings[0].higher is not None
    kept = canaries_of(place)
    assert len(kept) == 20 and all(each["scores"] for each in kept)

    # The same module, so no fingerprint can notice.
    place.live.loaded.model.load_state_dict(models.load("diffusion-2").state_dict())
    now = 60
    while lookout.drift is None and now < 600:
        now += 60
        place.once(lookout, now)
    found = lookout.findings[0]
    assert lookout.drift == found.name and found.found_by_bets - 20 <= 60
    lookout.close()

    later = place.lookout()
    assert later.drift == found.name, "it stays found until the guard is calibrated anew"
    later.close()


def test_a_rule_that_scores_otherwise_is_compared_by_the_final_scores_all_the_same(place):
    lookout = place.lookout(policy=Policy.observe("online"))
    due = place.once(lookout, 0, rule="online")
    final = place.generate([each.prompt for each in due if each.kind == "harmless"]).verdicts
    kept = canaries_of(place)
    np.testing.assert_allclose([each["scores"]["detector"] for each in kept], [each.score for each in final])
    lookout.close()


def test_a_canary_that_was_not_seen_whole_says_nothing_and_is_counted(place):
    lookout = place.lookout(CanariesSection(harmless=HarmlessSection(split="test", count=3)))
    due = lookout.due(0)
    blind = [
        Observation(Verdict(each.prompt.id, "unmonitored", ("tap_silent",), rule=rule), 1, kind="canary")
        for each, rule in zip(due, ("final", "online", "final"), strict=True)
    ]
    lookout.ran(blind, None)
    kept = canaries_of(place)
    assert [each["reason"] for each in kept] == ["tap_silent"] * 3
    assert lookout.findings[0].higher is None and lookout.drift is None
    lookout.close()


def test_an_error_in_the_lookout_is_logged_once_and_never_raised(place, caplog, monkeypatch):
    lookout = place.lookout(CanariesSection(harmless=HarmlessSection(split="test")), DriftSection())

    def broken(*_):
        raise RuntimeError("a secret prompt")

    monkeypatch.setattr("sri_sdk.monitor.drift.canary_of", broken)
    monkeypatch.setattr(lookout._traffic, "add", broken)
    for now in (0, 600):
        (due,) = lookout.due(now)
        lookout.ran([Observation(Verdict(due.prompt.id, "clear"), 1, kind="canary")], None)
        lookout.add(Observation(Verdict("r", "clear", score=1.0, bundle=place.guard.scorer.bundle.digest), 1))
    assert caplog.text.count("canaries: failed with RuntimeError") == 1 and "secret" not in caplog.text
    monkeypatch.setattr(lookout._schedule, "_fresh", broken)
    assert lookout.due(1e9) == []
    lookout.close()


def test_traffic_is_compared_where_the_settings_say_so_and_every_process_takes_the_next_look(place):
    looks = place.state / LOOKS
    for number in (1, 2):
        lookout = place.lookout(None, DriftSection(rate=0.05), config=None)
        assert json.loads(looks.read_text())["look"] == number
    threshold = place.guard.scorer.thresholds["final"]
    for score in np.full(40, threshold.scores[-3]):
        lookout.add(Observation(Verdict("r", "clear", score=float(score), bundle=place.guard.scorer.bundle.digest), 1))
    assert lookout.drift == "traffic:detector" and lookout.drifted is None
    looks.write_text("[]")
    with pytest.raises(ConfigError, match="says no number of a look"):
        place.lookout(None, DriftSection(), config=None)


def test_traffic_that_began_under_another_guard_is_left_out(place):
    lookout = place.lookout(None, DriftSection(), config=None)
    lookout.add(Observation(Verdict("r", "clear", score=-99.0, bundle="f" * 64), 1))
    assert lookout._traffic.compared == 0
    lookout.add(Observation(Verdict("r", "clear", score=-99.0, bundle=place.guard.scorer.bundle.digest), 1))
    assert lookout._traffic.compared == 1


def test_what_was_found_goes_on_with_the_next_lookout_of_the_same_guard(place):
    lookout = place.lookout(ASKS, DriftSection())
    lookout._traffic._found, lookout._schedule.harmful.missed = "detector", "clear"
    proven = lookout._schedule.harmful._proven
    proven += lookout._schedule.harmful.next()
    seldom = place.lookout(ASKS.model_copy(update={"every_s": 3600}), DriftSection(), before=lookout)
    lookout.yields(seldom)
    assert (seldom.missed, seldom.drift, seldom._schedule.proven) == ("clear", "traffic:detector", len(proven))
    assert json.loads((place.state / LOOKS).read_text())["look"] == 1, "no look is spent"
    place.once(seldom, 0)
    assert len(canaries_of(place)) == 10, "the file is still its own"
    other = ASKS.harmful.model_copy(update={"count": 1})
    once = place.lookout(
        ASKS.model_copy(update={"harmful": other, "harmless": None}), DriftSection(rate=0.02), before=seldom
    )
    assert once.changed == "detector", "also where the look is another one"
    once.close()


def test_debounced_traffic_is_not_compared_and_says_so(place):
    policy = Policy.observe("online").model_copy(update={"debounce": Debounce(alarms=2, of=3)})
    lookout = place.lookout(None, DriftSection(), policy=policy)
    assert lookout.traffic_findings == () and "debounced" in lookout.blind[0]


def test_canaries_without_a_config_are_refused(place):
    with pytest.raises(ConfigError, match="canaries: need a config"):
        place.lookout(config=None)


class TestShadow:
    """A second guard beside the live one."""

    def test_it_judges_what_the_live_one_judged_and_counts_where_they_differ(self, place):
        run = place.generate([each.prompt for each in place.lookout().due(0)])
        shadow = ShadowGuard.open(ShadowSection(path=place.folder / "bundle"), place.guard.manifest, Policy.observe())
        assert shadow.words == ""
        found = shadow.score(run.verdicts, run.signals)
        assert found == list(run.verdicts) and dict(shadow.counts) == {"same": len(found)}
        assert shadow.words == f"shadow {shadow.digest[:12]}: {len(found)} judged alike"

    def test_what_the_live_one_could_not_see_is_unmonitored_for_it_too(self, place):
        run = place.generate([each.prompt for each in place.lookout().due(0)][:2])
        shadow = ShadowGuard.open(ShadowSection(path=place.folder / "bundle"), place.guard.manifest, Policy.observe())
        blind = [Verdict(each.request_id, "unmonitored", ("tap_silent",)) for each in run.verdicts]
        found = shadow.score(blind, run.signals)
        assert {(each.status, each.reasons, each.score) for each in found} == {("unmonitored", ("tap_silent",), None)}
        assert dict(shadow.counts) == {"unscored": 2}

    def test_who_flags_alone_is_counted_by_name(self, place):
        run = place.generate([each.prompt for each in place.lookout().due(0)][:2])
        shadow = ShadowGuard.open(ShadowSection(path=place.folder / "bundle"), place.guard.manifest, Policy.observe())
        turned = [Verdict(each.request_id, "clear" if each.status == "flagged" else "flagged") for each in run.verdicts]
        shadow.score(turned, run.signals)
        expected = ["only_shadow" if each.status == "flagged" else "only_live" for each in run.verdicts]
        assert dict(shadow.counts) == {name: expected.count(name) for name in set(expected)}

    def test_an_error_of_its_own_is_counted_and_never_raised(self, place, caplog):
        run = place.generate([each.prompt for each in place.lookout().due(0)][:2])
        shadow = ShadowGuard.open(ShadowSection(path=place.folder / "bundle"), place.guard.manifest, Policy.observe())
        for _ in range(2):
            assert shadow.score(run.verdicts, run.signals.take([0, 0])) == []
        assert dict(shadow.counts) == {"failed": 4} and caplog.text.count("shadow: fails") == 1

    def test_a_bundle_that_reads_other_signals_or_lacks_the_rule_is_refused(self, place):
        manifest = place.guard.manifest
        other = manifest.model_copy(update={"anchors": manifest.anchors.model_copy(update={"sha256": "0" * 64})})
        section = ShadowSection(path=place.folder / "bundle")
        with pytest.raises(ConfigError, match=r"shadow\.path: .*differs from the live guard in anchors"):
            ShadowGuard.open(section, other, Policy.observe())
        with pytest.raises(ConfigError, match=r"has no rule 'request'"):
            ShadowGuard.open(section, manifest, Policy.observe("request"))


def test_the_next_process_asks_the_harmful_prompts_that_this_guard_has_flagged(place):
    lookout = place.lookout()
    place.once(lookout, 0)
    while lookout.pulse["canaries_proven"] is None:
        place.once(lookout, 0)
    told = lookout.pulse
    assert told["canary_every_s"] == 60 and told["canaries_wanted"] == 2 and told["canary_at"] and told["drift_looked"]
    lookout.close()
    later = place.lookout()
    assert later.pulse["canaries_proven"] == told["canaries_proven"] and later.pulse["canary_at"] is None
    later.close()
    otherwise = place.lookout(policy=Policy.observe("online"))
    assert otherwise.pulse["canaries_proven"] is None, "another rule may not flag them"
    otherwise.close()
