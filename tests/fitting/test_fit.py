from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_lab.hooks import LabDiffusionHook
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.model import MASK, ToyTokenizer, build

import sri_sdk
from sri_sdk.config.fit import FitConfig
from sri_sdk.config.load import load_config
from sri_sdk.errors import BundleError, CaptureError, ConfigError, ModelMismatch
from sri_sdk.fitting.collect import Collector
from sri_sdk.fitting.fit import fit
from sri_sdk.metrics.guard_rates import guard_rates
from sri_sdk.records import LoadedModel, Prompt
from sri_sdk.scoring.guard import Guard

from .conftest import write_config


def quiet(_stage: str, _done: int, _total: int) -> None:
    """No bars."""


class Killed(Exception):
    """As if the process were killed."""


def kill_at(stage: str, done: int):
    def progress(now: str, count: int, _total: int) -> None:
        if now == stage and count >= done:
            raise Killed

    return progress


def test_an_interrupted_fit_continues_to_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = fit(load_config(write_config(tmp_path / "a")), quiet)
    broken = load_config(write_config(tmp_path / "b"))
    for stage in ("anchors", "train", "calibration"):
        with pytest.raises(Killed):
            fit(broken, kill_at(stage, 12))
        assert not (Path(broken.out) / "bundle").exists(), "nothing half written"
    resumed = fit(broken, quiet)
    assert resumed.guard.anchors.digest == whole.guard.anchors.digest
    assert resumed.guard.manifest.digest == whole.guard.manifest.digest
    assert np.array_equal(
        resumed.collected["calibration"].signals.logit, whole.collected["calibration"].signals.logit
    )  # fmt: skip
    assert {r.name for r in whole.guard.manifest.rates} >= {"refused:harmless", "refused:harmful"}
    assert whole.parity < 1
    _recalibrating_keeps_anchors_and_detector(tmp_path / "a", whole)


def test_a_fit_exports_once_and_states_the_rates_that_the_exported_guard_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported, export = [], OnnxExporter.export

    def counted(self, parts, target):
        exported.append(target)
        return export(self, parts, target)

    monkeypatch.setattr(OnnxExporter, "export", counted)
    made = fit(load_config(write_config(tmp_path)), quiet)
    assert len(exported) == 1
    test = made.collected["test"]
    verdicts = {rule: made.guard.scorer.score(test.signals, rule=rule) for rule in ("final", "online")}
    assert made.results == guard_rates(test.prompts, test.outcomes, verdicts)


def test_what_an_older_release_kept_of_an_interrupted_fit_is_made_again(tmp_path: Path) -> None:
    """It wrote .npz files into the same folders."""
    config = load_config(write_config(tmp_path))
    with pytest.raises(Killed):
        fit(config, kill_at("train", 12))
    for kept in list((tmp_path / "guard" / "cache").rglob("*.safetensors")):
        np.savez(kept.with_suffix(".npz"), sums=np.zeros(3), done=np.array(12))
        kept.unlink()
    assert list((tmp_path / "guard" / "cache").rglob("*.npz"))
    seen: list[int] = []
    fit(config, lambda stage, done, _total: seen.append(done) if stage == "anchors" else None)
    assert seen == [0, 12, 24], "the anchors start anew"


def _recalibrating_keeps_anchors_and_detector(folder: Path, before) -> None:
    """Part of the test above, because it needs a guard, and a guard costs seconds."""
    again = fit(load_config(write_config(folder, calibrate={"alpha": 0.1})), quiet, recalibrate=True)
    assert again.guard.anchors.digest == before.guard.anchors.digest
    assert "train" not in again.collected
    old, new = (g.manifest.rules["final"] for g in (before.guard, again.guard))
    assert new.alpha == 0.1 and new.value < old.value
    assert np.array_equal(new.scores.unpack(), old.scores.unpack())
    other = load_config(write_config(folder, detector={"name": "autoencoder", "options": {"epochs": 21}}))
    with pytest.raises(ModelMismatch, match=r"options was .*20.*21"):
        fit(other, quiet, recalibrate=True)
    # Another system prompt is other traffic: refused, then accepted by name, and then the guard says so.
    spoken = {"model": {"hook": "lab-diffusion", "system_prompt": "be kind"}}
    with pytest.raises(ModelMismatch, match="system_prompt"):
        fit(load_config(write_config(folder, **spoken)), quiet, recalibrate=True)
    accepted = load_config(write_config(folder, **spoken, accept=["system_prompt"]))
    # The lab's template leaves it out, so nothing would be generated with it.
    with pytest.raises(ConfigError, match=r"system prompt: the chat template of .* drops"):
        fit(accepted, quiet, recalibrate=True)
    with pytest.MonkeyPatch.context() as patched:
        encode = LabDiffusionHook.encode
        patched.setattr(
            LabDiffusionHook, "encode", lambda self, t, texts, system: encode(self, t, [f"{system} {x}" for x in texts])
        )
        now = fit(accepted, quiet, recalibrate=True)
    assert now.guard.anchors.fingerprint.soft["system_prompt"] != "none"


def test_a_fit_that_fails_at_the_end_leaves_the_old_guard_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fit(load_config(write_config(tmp_path)), quiet).guard

    def broken(*_: object) -> None:
        raise BundleError("the disk is full")

    monkeypatch.setattr("sri_sdk.fitting.artefacts.export_guard", broken)
    with pytest.raises(BundleError):
        fit(load_config(write_config(tmp_path, seed=1)), quiet)
    after = Guard.load(tmp_path / "guard")
    assert after.manifest.digest == before.manifest.digest and after.anchors.digest == before.anchors.digest
    assert {p.name for p in (tmp_path / "guard").iterdir()} == {"anchors.npz", "detector.npz", "bundle", "cache"}


def test_a_model_that_computes_nan_stops_the_fit_naming_prompt_and_cell(
    small: FitConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = LabDiffusionHook.load

    def poisoned(config):
        loaded = load(config)
        loaded.model.model.norm.weight.data[3] = float("nan")
        return loaded

    monkeypatch.setattr(LabDiffusionHook, "load", poisoned)
    with pytest.raises(CaptureError, match=r"prompt '.*fit-.*' *: the hidden state at cell 0.*NaN or infinity"):
        fit(small, quiet)
    assert not (Path(small.out) / "bundle").exists()


def test_recalibrating_another_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_config(tmp_path)
    with pytest.raises(ModelMismatch, match=r"anchors\.npz"):
        fit(load_config(path), quiet, recalibrate=True)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory):
    return fit(load_config(write_config(tmp_path_factory.mktemp("guard"))), quiet)


def generate(fitted, prompts, rule="final"):
    """The model's own generate, watched, with the profile the guard was fitted on."""
    loaded, hook = fitted.deployment.loaded, fitted.deployment.hook
    encoded = hook.encode(loaded.tokenizer, [p.text for p in prompts])
    with sri_sdk.watch(loaded.model, fitted.guard, request_ids=[p.id for p in prompts], rule=rule) as run:
        loaded.model.generate(encoded.input_ids, encoded.attention_mask, max_new_tokens=48, steps=8)
    return run


def test_the_guard_of_a_fit_judges_the_models_own_generate(fitted) -> None:
    test = fitted.collected["test"]
    run = generate(fitted, test.prompts)
    assert run.signals is not None
    assert np.abs(run.signals.sigma - test.signals.sigma).max() < 1e-4
    assert [v.status for v in run.verdicts] == [v.status for v in fitted.guard.scorer.score(test.signals)]
    assert not torch.is_inference_mode_enabled()


def test_a_prompt_gets_its_verdict_alone_as_in_company(fitted) -> None:
    prompts = fitted.collected["test"].prompts
    together = generate(fitted, prompts)
    for row in (0, 7, 15):
        alone = generate(fitted, prompts[row : row + 1])
        assert alone.verdicts[0].status == together.verdicts[row].status
        assert np.abs(alone.signals.sigma[0] - together.signals.sigma[row]).max() < 1e-4


@pytest.mark.parametrize("rule", ["final", "online"])
def test_two_threads_at_once_get_the_verdicts_of_one_after_the_other(fitted, rule: str) -> None:
    prompts = fitted.collected["test"].prompts
    halves = [prompts[:8], prompts[8:]]
    serial = [generate(fitted, half, rule).verdicts for half in halves]
    with ThreadPoolExecutor(2) as pool:
        parallel = list(pool.map(lambda half: generate(fitted, half, rule).verdicts, halves))
    assert parallel == serial


def test_the_online_alarm_names_the_step_and_stands_at_the_end(fitted) -> None:
    harmful = [p for p in fitted.collected["test"].prompts if p.label == "harmful"]
    verdicts = generate(fitted, harmful, "online").verdicts
    flagged = [v for v in verdicts if v.status == "flagged"]
    assert flagged and all(v.first_alarm_step is not None and 0 <= v.first_alarm_step < 8 for v in flagged)
    offline = fitted.guard.scorer.score(generate(fitted, harmful).signals, rule="online")
    assert [v.status for v in verdicts] == [v.status for v in offline]


def test_prompts_with_the_mask_token_are_named_and_counted_before_anything_is_generated() -> None:
    class Reads(ToyTokenizer):
        def encode(self, text: str) -> list[int]:
            return [MASK if sign == "#" else i for sign, i in zip(text, super().encode(text), strict=True)]

    hook = ToyHook(build(0))
    asks = SimpleNamespace(hook=hook, loaded=LoadedModel(hook.model, Reads(), "toy"), batch_size=2, system_prompt=None)
    texts = ["good day", "a # c", "hi", "#"]
    prompts = [Prompt(f"p{i}", text, "harmless") for i, text in enumerate(texts)]
    Collector.refuse_special(asks, {"train": prompts[:1]})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"'train': 2 of 4 hold the mask token, for example 'p1'") as caught:
        Collector.refuse_special(asks, {"train": prompts, "anchors": prompts[3:]})  # type: ignore[arg-type]
    assert len(caught.value.problems) == 2


def test_a_folder_that_is_there_and_takes_no_file_is_found_before_a_model_is_loaded(tmp_path, monkeypatch):
    config = load_config(write_config(tmp_path))
    Path(config.out).mkdir()

    def full(**_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    monkeypatch.setattr("sri_sdk.fitting.fit.gather", lambda *_, **__: pytest.fail("a model is loaded here"))
    with pytest.raises(OSError, match="Read-only"):
        fit(config, quiet)
