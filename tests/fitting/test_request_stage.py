"""A fit with a request column, up to its signals; and the same column in a watch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sri_sdk import registry
from sri_sdk.capture.run import Run
from sri_sdk.capture.tap import tap_of
from sri_sdk.config.load import load_config
from sri_sdk.errors import CaptureError, ConfigError
from sri_sdk.fitting.collect import Collector
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.folds import draw_folds
from sri_sdk.fitting.gather import Stopwatch, gather
from sri_sdk.fitting.request_stage import collect_request_map

from .conftest import SMALL, write_config

FOLD = {"split": "fit", "harmless": 16, "harmful": 16, "attacks": {"authority": 6}, "unusual": {"unusual": 6}}
FOLDS = {**SMALL["folds"], "request": FOLD}
FEW = {
    **FOLDS,
    "calibration": {"split": "calibration", "harmless": 19},
    "test": {"split": "test", "harmless": 4, "harmful": 4},
}


def gathered(folder, progress=lambda *_: None, *, last_tokens=None, **changes):
    request = {"layers": "all", "last_tokens": last_tokens}
    config = load_config(write_config(folder, request=request, **changes))
    folds = draw_folds(registry.build("datasets", "lab", {}), config.folds, seed=config.seed)
    return gather(config, folds, progress, Stopwatch(), recalibrate=False), folds


BOTH = {"behaviour": {"detector": "autoencoder"}, "asked": {"detector": "request"}}
FOR_BOTH = {**FEW, "calibration": {"split": "calibration", "harmless": 39}}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return gathered(tmp_path_factory.mktemp("fit"), detector=None, parts=BOTH, folds=FOR_BOTH)


@pytest.fixture(scope="module")
def found_last(tmp_path_factory):
    """A guard that reads the last four tokens of a request."""
    folder = tmp_path_factory.mktemp("last")
    return gathered(folder, detector=None, parts=BOTH, folds=FOR_BOTH, last_tokens=4)


@pytest.mark.parametrize("last", [None, 4])
def test_the_column_is_the_map_of_the_requests_mean_state_in_the_first_pass(last, request):
    """Against float64 and torch's own hooks, on the tokens that another request would change."""
    made, folds = request.getfixturevalue("found" if last is None else "found_last")
    hook, loaded, prompts = made.deployment.hook, made.deployment.loaded, folds.test
    encoded = hook.encode(loaded.tokenizer, [p.text for p in prompts], None)
    other = hook.encode(loaded.tokenizer, ["a b c"], None).input_ids[0].tolist()
    states = []
    handles = [
        module.register_forward_hook(lambda *a: states.append((a[2][0] if isinstance(a[2], tuple) else a[2]).double()))
        for module in (*hook.layers(), hook.final_norm())
    ]
    steps = made.deployment.sampler.steps(hook, encoded, [p.id for p in prompts], 0)
    with torch.inference_mode():
        next(steps)
    for handle in handles:
        handle.remove()
    weight, bias = made.anchors.request.weight.astype(np.float64), made.anchors.request.bias
    signals = made.collected["test"].signals
    for row, mask in enumerate(encoded.attention_mask):
        ids = encoded.input_ids[row].tolist()
        start = int(mask.argmax())
        first = next(i for i in range(start, len(ids)) if ids[i] != other[i - start])
        same = next(i for i in range(1, len(ids)) if ids[-i] != other[-i])
        stop = len(ids) - same + 1
        start = first if last is None else max(first, stop - last)
        mean = np.stack([layer[row, start:stop].mean(0).numpy() for layer in states[: len(weight)]])
        wanted = float((mean * weight).sum()) + bias
        np.testing.assert_allclose(signals.logit[row, :, -1], wanted, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(signals.sigma[row, :, -1], 1 / (1 + np.exp(-wanted)), rtol=1e-4)


def test_harmful_requests_read_as_harmful_in_a_column_that_comes_last(found):
    made, folds = found
    signals = made.collected["test"].signals
    assert signals.columns == ("sri@final", "request")
    assert signals.fingerprint["request_map"] == made.anchors.request.digest
    harmless = np.array([p.label == "harmless" for p in folds.test])
    assert signals.logit[harmless, 0, -1].min() > signals.logit[~harmless, 0, -1].max()


def test_the_map_says_what_it_is_worth_and_on_how_many_prompts(found):
    said = found[0].anchors.request.provenance
    assert said["prompts"]["authority"] == {"harmful": 6, "harmless": 6}
    assert (said["held_out"]["all"]["positives"], said["held_out"]["all"]["negatives"]) == (22, 28)
    assert said["held_out"]["all"]["low"] <= said["held_out"]["all"]["value"] <= 1


def test_attacked_prompts_of_the_map_are_made_of_no_request_of_another_fold(found):
    folds = found[1].named()
    others = {p.base or p.id for name, prompts in folds.items() if name != "request" for p in prompts}
    assert not others & {p.base or p.id for p in folds["request"]}


def test_a_finished_map_is_kept_and_no_state_is_written(found, monkeypatch):
    made, folds = found
    monkeypatch.setattr("sri_sdk.fitting.request_stage.read", lambda *_: pytest.fail("the model was asked again"))
    again = collect_request_map(made.collector, folds.request)
    assert again.digest == made.anchors.request.digest
    kept = sum(file.stat().st_size for file in made.collector.cache.glob("request-*/*"))
    assert kept < made.anchors.request.weight.nbytes + 8192


def test_a_guard_of_the_request_alone_needs_no_anchors_and_its_tap_still_counts(tmp_path):
    folds = {name: fold for name, fold in FEW.items() if name != "anchors"}
    made, prompts = gathered(tmp_path, detector={"name": "request"}, folds=folds)
    assert made.anchors.harmless.shape == (4, 0, 128)
    assert made.collected["test"].signals.logit.shape == (len(prompts.test), 4, 1)
    run = watched((made, prompts), tokenizer=made.deployment.loaded.tokenizer)
    assert [(t.steps, t.reasons) for t in run.traces] == [(8, ())] * len(prompts.test)


def test_states_that_would_not_fit_into_memory_are_refused_before_the_model_reads(found, monkeypatch):
    made, folds = found
    monkeypatch.setattr("sri_sdk.fitting.request_stage.LARGEST", 1000)
    with pytest.raises(ConfigError, match=r"request: states of 49 prompts, 5 layers and width 128"):
        collect_request_map(made.collector, folds.request[:-1])


# -- a watch of somebody else's loop ---------------------------------------------------------------------------


def watched(found, *, spans=None, tokenizer=None):
    made, folds = found
    hook, prompts = made.deployment.hook, folds.test
    ids = [p.id for p in prompts]
    settings = replace(made.collector.signal_settings(made.anchors), tokenizer=tokenizer)
    run, tap = Run(hook, settings, ids, request_spans=spans), tap_of(hook.model)
    encoded = hook.encode(made.deployment.loaded.tokenizer, [p.text for p in prompts], None)
    with torch.inference_mode(), tap.installed(hook, run), tap.owned_by(run):
        for _ in made.deployment.sampler.steps(hook, encoded, ids, 0):
            pass
    run.finish()
    return run


@pytest.mark.parametrize("guard", ["found", "found_last"])
def test_a_watch_with_the_tokenizer_finds_the_requests_that_a_driver_finds(guard, request):
    found = request.getfixturevalue(guard)
    run = watched(found, tokenizer=found[0].deployment.loaded.tokenizer)
    wanted = found[0].collected["test"].signals
    np.testing.assert_array_equal(run.signals.logit[..., -1], wanted.logit[..., -1])
    assert (run.signals.columns, run.signals.missing) == (wanted.columns, None)


@pytest.mark.parametrize(
    ("spans", "code"),
    [(None, "request_not_located"), ((0, 400), "prompt_not_seen")],
)  # fmt: skip
def test_a_request_that_was_not_read_is_missing_by_a_reason_and_the_signal_stays(found, spans, code):
    count = len(found[1].test)
    run = watched(found, spans=None if spans is None else [spans] * count)
    assert run.signals.missing == {"request": (code,) * count}
    assert np.isnan(run.signals.logit[..., -1]).all()
    np.testing.assert_array_equal(run.signals.logit[..., 0], found[0].collected["test"].signals.logit[..., 0])
    assert all(not trace.reasons for trace in run.traces)


def test_a_hook_that_fails_over_the_prompt_costs_the_column_and_not_the_run(found, monkeypatch):
    hook = type(found[0].deployment.hook)
    monkeypatch.setattr(hook, "prompt_columns", lambda *_: 1 / 0)
    run = watched(found, tokenizer=found[0].deployment.loaded.tokenizer)
    assert set(run.signals.missing["request"]) == {"request_failed"}
    assert all(not trace.reasons for trace in run.traces)
    assert "ZeroDivisionError" in run.failure


def test_a_fit_names_the_prompt_whose_request_has_no_number(found, monkeypatch):
    made, folds = found
    monkeypatch.setattr(type(made.deployment.hook), "prompt_columns", lambda *_: 1 / 0)
    with pytest.raises(CaptureError, match=rf"'{folds.test[0].id}': column 'request' has no number \(request_failed\)"):
        made.collector.signals("another", folds.test, made.anchors)


def test_started_responses_that_the_fit_makes_fit_a_short_response(tmp_path):
    """Their texts are drawn before the length of the response is known."""
    fold = {"split": "fit", "harmless": 8, "harmful": 8, "around": {"start": 20, "holes": 20}}
    sampler = {"name": "low-confidence", "options": {"steps": 4, "tokens": 8}}
    config = load_config(
        write_config(
            tmp_path, request={"layers": "all"}, detector={"name": "request"}, sampler=sampler,
            folds={**FEW, "anchors": None, "request": fold},
        )
    )  # fmt: skip
    folds = draw_folds(registry.build("datasets", "lab", {}), config.folds, seed=config.seed)
    place = Deployment.open(config)
    made = collect_request_map(Collector.of(place, tmp_path / "cache", lambda *_: None), folds.request)
    assert made.provenance["prompts"]["around-holes"] == {"harmless": 20, "harmful": 20}
