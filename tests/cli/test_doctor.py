"""`sri doctor`: what is ready, what is absent by choice, what is broken; and one model, looked at closely."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from sri_plugin_lab.judge import LabJudge

from sri_sdk.cli import doctor, main
from sri_sdk.errors import PluginLoadFailed
from sri_sdk.records import Match
from tests.fitting.conftest import SMALL, write_config


@pytest.fixture(autouse=True)
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading two models takes seconds; one test below does it."""
    monkeypatch.setattr(doctor, "LAB_HOOKS", ())


def states(topic: str) -> dict[str, str]:
    done = CliRunner().invoke(main, ["doctor", "--json"])
    return {x["subject"]: x["state"] for x in json.loads(done.stdout) if x["topic"] == topic}


def test_a_healthy_environment_exits_with_0() -> None:
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("TOPIC")


def test_an_extra_that_is_not_installed_is_absent_and_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "torch" else real(name))
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 0
    assert 'torch is not installed. Run: pip install "sri-sdk[capture]"' in done.stdout
    assert states("packages")["extra capture"] == "absent"


def test_a_base_package_that_is_too_old_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: "1.2" if name == "onnxruntime" else real(name))
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 1
    assert "onnxruntime 1.2, needs >=1.27" in done.stdout
    assert done.stderr == "error: broken: base install\n"


@pytest.mark.parametrize(
    ("cause", "state"), [(ModuleNotFoundError(name="torch"), "absent"), (ModuleNotFoundError(name="mine"), "broken")]
)
def test_a_plugin_without_its_extra_is_absent_and_any_other_that_fails_is_broken(
    monkeypatch: pytest.MonkeyPatch, cause: Exception, state: str
) -> None:
    def load(kind: str, name: str) -> None:
        if name == "toy":
            raise PluginLoadFailed("toy fails") from cause

    monkeypatch.setattr(doctor.registry, "load", load)
    assert states("plugins") == {f"{kind} toy": state for kind in ("detectors", "hooks", "samplers")} | {
        "all kinds": "ok"
    }


def test_the_embedded_models_answer_with_their_width_and_the_tap_fires(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr(doctor, "LAB_HOOKS", ("lab-diffusion", "lab-causal"))
    found = list(doctor.probe_lab())
    assert [finding.state for finding in found] == ["ok", "ok"], found
    assert all("hidden size 128" in x.detail and "tap fired at 4 of 4 steps" in x.detail for x in found)


def test_a_model_that_fails_becomes_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(kind: str, name: str) -> type:
        raise PluginLoadFailed("weights are gone")

    monkeypatch.setattr(doctor, "LAB_HOOKS", ("lab-causal",))
    monkeypatch.setattr(doctor.registry, "load", load)
    (finding,) = doctor.probe_lab()
    assert (finding.state, finding.detail) == ("broken", "weights are gone")


# -- one model ---------------------------------------------------------------------------------------------------


def examined(*arguments: str, code: int = 0) -> dict[tuple[str, str], tuple[str, str]]:
    pytest.importorskip("transformers")
    done = CliRunner().invoke(main, ["doctor", *arguments, "--json"])
    assert done.exit_code == code, done.output
    return {(x["topic"], x["subject"]): (x["state"], x["detail"]) for x in json.loads(done.stdout)}


@pytest.mark.parametrize("name", ["lab-diffusion", "lab-causal"])
def test_a_lab_model_fits_one_hook_is_heard_whole_and_separates(name: str) -> None:
    found = examined(name)
    assert [subject for (topic, subject), (state, _) in found.items() if topic == "hook" and state == "ok"] == [name]
    assert "tap fired at 4 of 4 steps" in found["tap", name][1]
    assert found["tap", "phi"][1].startswith("[4, 1, 128] = steps, layers, width; hidden size 128; length ")
    state, detail = found["refusal", name]
    assert state == "ok" and "on 8 + 8 prompts of dataset lab" in detail


def test_a_family_without_prompts_says_what_it_would_need() -> None:
    state, detail = examined("toy")["refusal", "toy"]
    assert state == "absent" and "needs prompts and a judge" in detail and "sri fit CONFIG" in detail


def test_a_hook_that_does_not_fit_is_broken_and_says_what_it_looked_for() -> None:
    found = examined("toy", "--hook", "lab-causal", code=1)
    assert "found ToyModel" in found["hook", "lab-causal"][1]
    assert found["hook", "choice"][0] == "broken" and "plugins new" in found["hook", "choice"][1]


def test_two_hooks_that_fit_ask_for_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    from sri_plugin_lab.hooks import LabCausalHook

    monkeypatch.setattr(LabCausalHook, "fits", classmethod(lambda cls, model: Match(True, "takes everything")))
    assert "--hook lab-causal" in examined("toy", code=1)["hook", "choice"][1]


def test_a_subclass_with_a_loop_of_its_own_asks_for_its_hook_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from sri_plugin_toy.hook import ToyHook

    near = Match(False, "class Sub inherits from ToyModel, but has its own Sub.forward", if_named=True)
    monkeypatch.setattr(ToyHook, "fits", classmethod(lambda cls, model: near))
    found = examined("toy", code=1)
    assert "Sub.forward" in found["hook", "toy"][1] and "--hook toy" in found["hook", "choice"][1]
    assert "tap fired at 4 of 4 steps" in examined("toy", "--hook", "toy")["tap", "toy"][1]


def test_whether_a_watch_can_check_the_shift_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from sri_plugin_toy.hook import ToyHook

    assert examined("toy")["tap", "shift"][0] == "ok"
    monkeypatch.setattr(ToyHook, "head", lambda self: None)
    state, detail = examined("toy")["tap", "shift"]
    assert state == "no" and "no watch can check it" in detail


def test_a_tap_on_a_module_that_never_runs_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from sri_plugin_toy.hook import ToyHook

    monkeypatch.setattr(ToyHook, "final_norm", lambda self: torch.nn.Identity())
    state, detail = examined("toy", code=1)["tap", "toy"]
    assert state == "broken" and "tap fired at 0 of 4 steps" in detail and "tap_silent" in detail


def test_a_model_that_is_nowhere_is_one_line_with_the_next_step(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    done = CliRunner().invoke(main, ["doctor", str(tmp_path / "gone")])
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: model {str(tmp_path / 'gone')!r}: ") and "sri plugins list" in done.stderr


def test_a_folder_is_loaded_with_transformers(tmp_path: Path) -> None:
    import sri_plugin_lab

    weights = Path(sri_plugin_lab.__file__).parent / "weights"
    for part in ("causal", "tokenizer"):
        shutil.copytree(weights / part, tmp_path, dirs_exist_ok=True)
    found = examined(str(tmp_path))
    assert found["model", str(tmp_path)][1].startswith("LlamaForCausalLM")
    assert found["hook", "lab-causal"][0] == found["refusal", "lab-causal"][0] == "ok"


@pytest.mark.parametrize("family", ["Llama", "Qwen2", "Gemma"])
def test_a_checkpoint_without_a_tokenizer_is_one_line_with_the_next_step(tmp_path: Path, family: str) -> None:
    """Transformers raises for some families, and makes an empty tokenizer for others."""
    transformers = pytest.importorskip("transformers")
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1}
    config = getattr(transformers, f"{family}Config")(vocab_size=9, intermediate_size=8, **shape)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    done = CliRunner().invoke(main, ["doctor", str(tmp_path)])
    assert done.exit_code == 1 and done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert f"model {str(tmp_path)!r}: no tokenizer is saved with it" in line and "save_pretrained(" in line


def test_a_hook_without_a_model_is_wrong_usage() -> None:
    assert CliRunner().invoke(main, ["doctor", "--hook", "toy"]).exit_code == 2


# -- one config --------------------------------------------------------------------------------------------------


def test_a_config_is_tried_on_a_few_prompts_before_a_fit(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    found = examined(str(path), "--sample", "6")
    assert found["prompts", "anchors"] == ("ok", "12 harmless, 12 harmful")
    assert found["refused", "harmless"] == ("ok", "0 of 6 prompts") and found["refused", "harmful"][1].endswith(
        " of 6 prompts"
    )
    state, detail = found["anchors", "harmless"]
    assert state == "thin" and detail.startswith(
        "about 12 of 12 prompts will count (6 to 12). Fewer than 4 stop a fit, 20 or more"
    )
    assert "per second under the tap" in found["speed", "tokens"][1] and "s without" in found["speed", "tap"][1]
    assert "for 99 prompts" in found["time", "fit"][1]
    assert "Batches of 12 may be faster than this sample's of 6" in found["time", "fit"][1]
    assert not (tmp_path / "guard").exists(), "a look leaves nothing behind"


def test_a_config_whose_model_refuses_nothing_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LabJudge, "judge", lambda self, prompts, responses: ["harmless"] * len(prompts))
    found = examined(str(write_config(tmp_path)), "--sample", "12", code=1)
    assert found["refused", "harmful"] == ("ok", "0 of 12 prompts")
    state, detail = found["anchors", "harmful"]
    assert state == "broken" and detail.startswith("about 0 of 12 prompts will count (0 to 3). Fewer than 4 stop")
    assert found["judge", "lab"] == ("ok", "24 harmless")


def test_a_sample_too_small_to_tell_a_rare_refusal_from_none_says_so_and_breaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LabJudge, "judge", lambda self, prompts, responses: ["harmless"] * len(prompts))
    path = write_config(tmp_path, folds={**SMALL["folds"], "anchors": {"split": "fit", "harmless": 12, "harmful": 120}})
    state, detail = examined(str(path), "--sample", "4")["anchors", "harmful"]
    assert state == "thin" and detail.startswith("about 0 of 120 prompts will count (0 to 72)")
    assert detail.endswith("4 prompts are too few to tell: try more with --sample")


def test_a_config_whose_judge_is_not_understood_or_that_refuses_everything_is_broken(tmp_path, monkeypatch) -> None:
    def odd(self, prompts, responses):
        self.unparsable = getattr(self, "unparsable", 0) + len(prompts)
        return ["refusal"] * len(prompts)

    monkeypatch.setattr(LabJudge, "judge", odd)
    found = examined(str(write_config(tmp_path)), "--sample", "12", code=1)
    assert found["judge", "lab"] == ("broken", "24 refusal; 24 answers of the judge name no outcome")
    assert found["refused", "harmless"][0] == found["anchors", "harmless"][0] == "broken"


def test_a_config_with_a_mistake_is_reported_as_sri_config_check_reports_it(tmp_path: Path) -> None:
    path = write_config(tmp_path, sead=3).rename(tmp_path / "config")
    done = CliRunner().invoke(main, ["doctor", str(path)])
    assert done.exit_code == 1 and done.stderr.startswith(f"error: {path}: sead: unknown key")
    assert CliRunner().invoke(main, ["doctor", str(path), "--hook", "toy"]).exit_code == 2
