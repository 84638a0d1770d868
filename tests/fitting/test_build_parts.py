"""Guards of format 2, from fitted parts to verdicts: thresholds, graphs, golden vectors, files."""

from dataclasses import replace

import numpy as np
import pytest
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_detectors.logistic import LogisticDetector
from sri_plugin_detectors.request import RequestDetector
from sri_plugin_toy.detector import ToyDetector

from sri_sdk.anchors import Anchors
from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.manifest_v2 import ALL, Manifest2
from sri_sdk.errors import BundleError, ConfigError, ModelMismatch, ScoringError
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.fitting.artefacts import restore_parts, write_guard
from sri_sdk.fitting.build import export_guard
from sri_sdk.fitting.build_parts import calibrate_parts
from sri_sdk.fitting.parts import Part, fit_parts
from sri_sdk.records import Signals
from sri_sdk.request_map import RequestMap
from sri_sdk.scoring.runtime import load_own
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.signal import sigmoid, sri

CELLS, WIDTH = 6, 128
NAMES = ("sri@0", "sri@final", "request")
EVERYTHING = OnnxExporter(OnnxExporter.Config(full=True, step=True))


def made_anchors(layers=(0, "final"), request=True) -> Anchors:
    rng = np.random.default_rng(0)
    harmless = rng.normal(size=(CELLS, len(layers), WIDTH)).astype(np.float32)
    harmful = harmless + 0.3 * rng.normal(size=harmless.shape).astype(np.float32)
    hard = {
        "architecture": "Made-up", "hidden_size": WIDTH, "layers": list(layers), "pooling": "response",
        "grid": {"cells": CELLS, "mapping": "step", "budget": 12}, "sampler": {"name": "toy"},
        "config_digest": "c" * 64, "weights_digest": "d" * 64,
    }  # fmt: skip
    held = None
    if request:
        hard["request"] = {"layers": [0, 1, "final"]}
        held = RequestMap((0.05 * rng.normal(size=(3, WIDTH))).astype(np.float32), 0.3, {"prompts": {}})
    return Anchors(harmless, harmful, Fingerprint(hard, {"dtype": "float32"}), {"judge": "made-up 1"}, held)


def signals(seed, count, anchors, *, groups=None, harm=0.0) -> Signals:
    rng = np.random.default_rng(seed)
    names = tuple(column.name for column in anchors.columns)
    logit = rng.normal(2, 0.5, (count, CELLS, len(names))).astype(np.float32) - np.float32(harm)
    if names[-1] == "request":
        logit[:, :, -1] = logit[:, :1, -1] * 2
    ids = tuple(f"{seed}-{i}" for i in range(count))
    return Signals(ids, sigmoid(logit), logit, columns=names, groups=groups)


def parts(*, shares=(0.75, 0.25), behaviour=ToyDetector):
    return (
        Part("behaviour", behaviour(), "toy", ("sri@0", "sri@final"), "score_above_threshold", shares[0]),
        Part("asked", RequestDetector().bind(("request",)), "request", ("request",), "request_harmful", shares[1]),
    )


def calibrated(wanted, anchors, *, alpha=0.04, count=199, **more):
    names = [column.name for column in anchors.columns]
    fit_parts(wanted, signals(1, 50, anchors), names)
    calibration = more.pop("calibration", None) or signals(3, count, anchors)
    return calibrate_parts(
        wanted, signals(2, 60, anchors), calibration, anchors=anchors,
        exporter=OnnxExporter(), alpha=alpha, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def anchors():
    return made_anchors()


@pytest.fixture(scope="module")
def wanted():
    return parts()


@pytest.fixture(scope="module")
def made(wanted, anchors):
    return calibrated(wanted, anchors)


@pytest.fixture(scope="module")
def bundle(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    made.parts.anchors.save(folder / "anchors.npz")
    return export_guard(made.parts, EVERYTHING, folder / "bundle")


# -- thresholds ------------------------------------------------------------------------------------------------


def test_each_part_has_its_share_of_alpha_and_an_order_statistic_of_its_own_scores(made, wanted, anchors):
    calibration = signals(3, 199, anchors)
    for part, fitted in zip(wanted, made.parts.parts, strict=True):
        scores = np.sort(part.detector.score(part.of(calibration, NAMES)))
        final = fitted.rules["final"][ALL]
        assert final.alpha == pytest.approx(0.04 * part.share)
        # 200 * (1 - alpha), as split conformal has it.
        assert final.rank == {0.75: 194, 0.25: 198}[part.share]
        assert final.value == pytest.approx(scores[final.rank - 1], abs=2 * final.tolerance)
    assert set(made.parts.parts[0].rules) == {"final", "online"}
    request = made.parts.parts[1].rules["request"][ALL]
    # Nobody else has a say in this rule, so the part has all of alpha.
    assert (request.alpha, request.rank) == (0.04, 192)


def test_false_alarms_of_all_parts_together_keep_alpha(made, anchors):
    scorer = made.scorer()
    fresh = signals(4, 4000, anchors)
    for rule in ("final", "online", "request"):
        share = np.mean([v.status == "flagged" for v in scorer.score(fresh, rule=rule, unverified=True)])
        # Alpha is 4 %; a calibration set of 199 realises up to 7 % in 99 of 100 cases.
        assert 0.002 < share < 0.07, rule


def test_what_no_part_can_do_with_its_share_is_named_with_the_part(anchors):
    with pytest.raises(ConfigError, match=r"part 'asked': alpha 0\.01 is out of reach with n = 60"):
        calibrated(parts(), anchors, count=60)


def test_stated_attacks_among_the_calibration_generations_raise_every_rank(anchors, tmp_path):
    made = calibrated(parts(), anchors, contamination=0.1)
    assert [part.rules["final"][ALL].rank for part in made.parts.parts] == [195, 199]
    bundle = export_guard(made.parts, EVERYTHING, tmp_path / "bundle")
    assert bundle.manifest.producer["calibration"].startswith("up to 10 % of the generations may be attacks")


def test_every_group_sets_its_own_threshold_and_meets_the_share(anchors):
    groups = tuple("plain" if i % 3 else "unusual" for i in range(600))
    calibration = signals(5, 600, anchors, groups=groups)
    harder = calibration.logit.copy()
    harder[np.array(groups) == "unusual"] -= 1.0
    calibration = replace(calibration, logit=harder, sigma=sigmoid(harder))
    made = calibrated(parts(), anchors, calibration=calibration)
    for part in made.parts.parts:
        plain, unusual = (part.rules["final"][name] for name in ("plain", "unusual"))
        assert (plain.n, unusual.n) == (400, 200) and plain.alpha == unusual.alpha
        assert unusual.value > plain.value
    manifest = made.scorer().manifest
    assert manifest.groups == ("plain", "unusual")
    scorer, some = made.scorer(), signals(6, 200, anchors, harm=0.9)

    def flagged(group):
        verdicts = scorer.score(replace(some, groups=(group,) * 200), unverified=True)
        assert {v.group for v in verdicts} == {group}
        return {v.request_id for v in verdicts if v.status == "flagged"}

    assert len(flagged("unusual")) < 0.2 * 200 < 0.5 * 200 < len(flagged("plain"))
    assert flagged("unusual") < flagged("plain")


def test_a_calibration_prompt_without_a_group_is_named(anchors):
    some = signals(5, 199, anchors, groups=("plain", None) + ("plain",) * 197)
    with pytest.raises(ConfigError, match="'5-1' has no group"):
        calibrated(parts(), anchors, calibration=some)


def test_a_calibration_signal_without_its_request_is_an_error_that_says_why(anchors):
    some = signals(5, 199, anchors)
    some.logit[7, :, -1] = some.sigma[7, :, -1] = np.nan
    why = tuple("prompt_not_seen" if i == 7 else None for i in range(199))
    with pytest.raises(ScoringError, match=r"'5-7' cannot be scored \(1 of 199\): .*\(prompt_not_seen\)"):
        calibrated(parts(), anchors, calibration=replace(some, missing={"request": why}))


# -- graphs ----------------------------------------------------------------------------------------------------


class Liar(ToyDetector):
    def export(self, graph, signals):
        return super().export(graph, signals) * 1.001


def test_a_part_that_draws_something_else_is_refused(anchors):
    with pytest.raises(BundleError, match="graph signal: onnxruntime scores"):
        calibrated(parts(behaviour=Liar), anchors)


@pytest.mark.parametrize("behaviour", [ToyDetector, LogisticDetector])
def test_parts_on_sigma_and_on_logits_share_one_bundle(anchors, behaviour):
    made = calibrated(parts(behaviour=behaviour), anchors)
    fresh = signals(7, 50, anchors)
    scorer = made.scorer()
    assert scorer.manifest.signal.domain == "logit"
    score, valid = scorer.score_final(fresh.logit)
    assert valid.all()
    for k, part in enumerate(made.parts.parts):
        own = fresh.domain(part.detector.domain)[:, :, [NAMES.index(name) for name in part.columns]]
        np.testing.assert_allclose(score[:, k], part.detector.score(own), rtol=1e-4, atol=1e-5)


def states(anchors, count, seed=8):
    rng = np.random.default_rng(seed)
    mixed = rng.uniform(0.2, 0.9, (count, 1, 1, 1))
    phi = (mixed * anchors.harmless + (1 - mixed) * anchors.harmful).astype(np.float32)
    prompt = rng.normal(size=(count, 3, WIDTH)).astype(np.float32)
    return phi, prompt


def test_the_graph_full_computes_what_signal_and_map_compute(bundle, anchors, made):
    phi, prompt = states(anchors, 20)
    prompt[3, 1, 5] = np.nan
    prompt[4, 0, 0] = np.inf
    phi[5, 2, 0] = 0
    run = load_own(bundle.graph("full"), "full").session_run
    score, valid, sigma, logit = run(["score", "valid", "sigma", "logit"], {"activations": phi, "prompt": prompt})
    fine = np.ones(20, dtype=bool)
    fine[5] = False
    # sri() refuses the state without a length, so the others are compared.
    _, wanted = sri(phi[fine], anchors.harmless, anchors.harmful)
    np.testing.assert_allclose(logit[fine][..., :2], wanted, rtol=1e-3, atol=1e-3)
    odds = anchors.request.log_odds(prompt)
    np.testing.assert_allclose(logit[..., 2], np.repeat(odds[:, None], CELLS, 1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(sigma[fine], sigmoid(logit[fine]), rtol=1e-4, atol=3e-7)
    assert valid[3].tolist() == valid[4].tolist() == [True, False] and valid[5].tolist() == [False, True]
    again, also = made.scorer().score_final(logit)
    np.testing.assert_array_equal(valid, also)
    np.testing.assert_allclose(score[valid], again[valid], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("once", [True, False])
def test_the_graph_step_gives_at_each_step_what_prefix_gives_whether_the_prompt_comes_once_or_always(
    bundle, anchors, made, once
):
    phi, prompt = states(anchors, 9)
    prompt[2] = np.nan
    run = load_own(bundle.graph("step"), "step").session_run
    state = np.full((9, CELLS, 3), np.nan, dtype=np.float32)
    scorer = made.scorer()
    for t in range(CELLS):
        given = prompt if t == 0 or not once else np.full_like(prompt, np.nan)
        inputs = {"phi": phi[:, t], "step": np.full(9, t), "state": state, "prompt": given}
        score, valid, sigma, state = run(["score", "valid", "sigma", "state_out"], inputs)
        again, also = scorer.score_prefix(state, np.full(9, t + 1))
        np.testing.assert_array_equal(valid, also)
        np.testing.assert_allclose(score[valid], again[valid], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(sigma, sigmoid(state[:, t]), rtol=1e-4, atol=3e-7)
    assert np.isnan(state[2, :, 2]).all() and (state[0, :, 2] == state[0, 0, 2]).all()


def test_a_step_that_does_not_exist_is_invalid_and_forgets_nothing(bundle, anchors):
    phi, prompt = states(anchors, 2)
    state = np.full((2, CELLS, 3), 1.5, dtype=np.float32)
    run = load_own(bundle.graph("step"), "step").session_run
    inputs = {"phi": phi[:, 0], "step": np.array([-1, CELLS]), "state": state, "prompt": np.full_like(prompt, np.nan)}
    valid, after = run(["valid", "state_out"], inputs)
    assert not valid.any() and (after == state).all()


# -- the bundle ------------------------------------------------------------------------------------------------


def test_the_bundle_says_what_it_reads_and_who_decides_when(bundle, anchors):
    manifest = Scorer.open(bundle.path).manifest
    assert isinstance(manifest, Manifest2)
    assert [(p.name, p.columns, p.reason) for p in manifest.parts] == [
        ("behaviour", ("sri@0", "sri@final"), "score_above_threshold"),
        ("asked", ("request",), "request_harmful"),
    ]
    assert list(manifest.rules) == ["final", "online", "request"]
    assert manifest.anchors.request.sha256 == anchors.request.digest
    assert (manifest.ended.column, manifest.ended.value, manifest.sensitive) == ("sri@final", 0.0, True)


def test_the_same_parts_give_the_same_bytes(made, bundle, tmp_path):
    again = export_guard(made.parts, EVERYTHING, tmp_path / "bundle")
    assert again.members == bundle.members


def test_every_part_fails_alone_somewhere_in_the_golden_rows(bundle):
    valid = bundle.manifest.golden["signal"].valid.unpack()
    assert {tuple(row) for row in valid.tolist()} == {(True, True), (True, False), (False, True), (False, False)}


@pytest.mark.parametrize("graph", ["signal", "prefix"])
def test_a_weight_that_changes_is_noticed(made, graph):
    assert made.parts.noticed[graph].tried > 0
    # The rest lies behind the clip of the toy's own distance, or in scales of lengths that no row can reach.
    assert made.parts.noticed[graph].share > 0.9


def test_a_guard_of_the_request_alone_has_no_step_and_needs_no_anchors(tmp_path):
    alone = made_anchors(layers=())
    made = calibrated((replace(parts()[1], share=1.0),), alone, alpha=0.01)
    bundle = export_guard(made.parts, EVERYTHING, tmp_path / "bundle")
    assert sorted(bundle.manifest.graphs) == ["full", "prefix", "signal"]
    assert list(bundle.manifest.graphs["full"].inputs) == ["prompt"]
    verdict = Scorer.open(bundle.path).score(signals(9, 1, alone, harm=9.0), rule="request", unverified=True)[0]
    assert (verdict.status, verdict.reasons, verdict.ended) == ("flagged", ("request_harmful",), None)


def test_columns_without_a_request_make_a_bundle_too(tmp_path):
    anchors = made_anchors(request=False)
    wanted = (
        Part("first", ToyDetector(), "toy", ("sri@0",), "score_above_threshold", 0.5),
        Part("last", LogisticDetector(), "logistic", ("sri@final",), "score_above_threshold", 0.5),
    )
    made = calibrated(wanted, anchors)
    bundle = export_guard(made.parts, EVERYTHING, tmp_path / "bundle")
    assert set(bundle.manifest.graphs["step"].inputs) == {"phi", "step", "state"}
    assert list(bundle.manifest.rules) == ["final", "online"]
    verdicts = Scorer.open(bundle.path).score(signals(9, 40, anchors), unverified=True)
    assert sum(v.status == "clear" for v in verdicts) > 30 and not any(v.status == "unmonitored" for v in verdicts)


# -- what a fit keeps --------------------------------------------------------------------------------------------


def test_what_the_parts_learnt_is_kept_and_given_back(made, anchors, tmp_path):
    write_guard(tmp_path, made.parts, OnnxExporter())
    fresh = parts()
    restore_parts(tmp_path, fresh, anchors, several=True)
    given = signals(9, 20, anchors)
    for new, old in zip(fresh, made.parts.parts, strict=True):
        own = new.of(given, NAMES)
        assert new.detector.score(own).tobytes() == old.detector.score(own).tobytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: (p[0], replace(p[1], name="request")), "its parts are asked, behaviour, "),
        (lambda p: (replace(p[0], columns=("sri@0",)), p[1]), r"part .behaviour.: columns was \['sri@0'"),
        (lambda p: (replace(p[0], detector_name="x"), p[1]), "part 'behaviour': detector was 'toy'"),
    ],
)  # fmt: skip
def test_what_another_config_learnt_is_not_given_back(made, anchors, tmp_path, change, said):
    write_guard(tmp_path, made.parts, OnnxExporter())
    with pytest.raises(ModelMismatch, match=said):
        restore_parts(tmp_path, change(parts()), anchors, several=True)


def test_another_request_map_is_not_given_back(made, anchors, tmp_path):
    write_guard(tmp_path, made.parts, OnnxExporter())
    other = replace(anchors, request=replace(anchors.request, bias=0.4))
    with pytest.raises(ModelMismatch, match="request map was"):
        restore_parts(tmp_path, parts(), other, several=True)


def test_a_bundle_that_is_read_back_is_the_one_that_was_calibrated(made, bundle, anchors):
    given = signals(10, 60, anchors, harm=0.8)
    read = Scorer(Bundle.read(bundle.path), {name: made.compiled[name].run for name in ("signal", "prefix")})
    for rule in ("final", "online", "request"):
        mine, theirs = (s.score(given, rule=rule, unverified=True) for s in (made.scorer(), read))
        assert [replace(v, bundle=None) for v in mine] == [replace(v, bundle=None) for v in theirs]
