"""`sri doctor`: what is ready, what is absent by choice, and what is broken."""

import json

import pytest
from click.testing import CliRunner

from sri_sdk.cli import doctor, main
from sri_sdk.errors import PluginLoadFailed


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
