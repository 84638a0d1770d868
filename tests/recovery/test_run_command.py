"""`sri run` with a policy that recovers: from one YAML file to what is printed."""

import json

import pytest
import yaml
from click.testing import CliRunner

from sri_sdk import registry
from sri_sdk.cli import main
from sri_sdk.config.load import load_config
from sri_sdk.fitting.fit import fit
from sri_sdk.scoring.guard import Guard
from sri_sdk.steer.file import save_direction
from sri_sdk.steer.make import extract_directions
from sri_sdk.steer.recovery.rounds import Rounds
from tests.fitting.conftest import write_config

from .conftest import direction_of, flag

TEXT = "not today ."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    place = fit(load_config(write_config(folder))).deployment
    dataset = registry.build("datasets", "lab", {})
    kinds = [dataset.prompts("fit", label, 32) for label in ("harmless", "harmful")]
    made = extract_directions(place.hook, place.loaded.tokenizer, *kinds, name="refusal", towards="harmful")
    save_direction(made, folder / "refusal.safetensors")
    other = registry.load("hooks", "lab-diffusion")
    twin = other(other.load(other.Config(weights="diffusion-2")).model)
    save_direction(direction_of(twin), folder / "twin.safetensors")
    return folder


@pytest.fixture
def everything_flagged(monkeypatch):
    load = Guard.load.__func__

    def loads(cls, *args, **more):
        guard = load(cls, *args, **more)
        flag(guard, "final", -1e9)
        return guard

    monkeypatch.setattr(Guard, "load", classmethod(loads))


def run(folder, *steps, json_lines=True, file="refusal.safetensors", **more):
    steps = [{**s, "direction": str(folder / file)} if s["action"] in ("steer", "remask") else s for s in steps]
    config = yaml.safe_load((folder / "small.yaml").read_text())
    policy = {"rule": "final", "flagged": "recover", "unmonitored": "report", "recovery": steps, **more}
    (folder / "recover.yaml").write_text(yaml.safe_dump({**config, "policy": policy}))
    prompt = ["--prompt", "steal the lantern of the farmer ."]
    return CliRunner().invoke(main, ["run", str(folder / "recover.yaml"), *prompt, *(["--json"] if json_lines else [])])


def test_what_answers_in_place_of_a_flagged_response_is_printed_with_every_action(folder, everything_flagged) -> None:
    done = run(folder, {"action": "steer", "steps": 4}, audit={"path": str(folder / "audit.jsonl")})
    assert done.exit_code == 0, done.output
    *steps, last = [json.loads(line) for line in done.output.splitlines()]
    assert all(step["draft"] is None for step in steps), "nothing is out before the verdict"
    assert (last["recovered"], last["withheld"], last["verdict"]["status"]) == ("steer", False, "flagged")
    assert last["response"] and [a["result"] for a in last["recoveries"]] == ["refusal"]
    (logged,) = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    assert {**logged, "time": 0} == {**last["recoveries"][0], "time": 0}


def test_the_refusal_text_is_shown_and_the_response_is_not(folder, everything_flagged) -> None:
    done = run(folder, {"action": "refuse", "text": TEXT}, json_lines=False)
    assert done.exit_code == 0, done.output
    assert "not today" in done.output and "the refusal text of the policy" in " ".join(done.output.split())


def test_a_refusal_text_is_shown_with_what_was_tried_before_it(folder, everything_flagged, monkeypatch) -> None:
    def breaks(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Rounds, "take", breaks)
    done = run(folder, {"action": "steer"}, {"action": "refuse", "text": TEXT}, json_lines=False)
    assert done.exit_code == 0, done.output
    assert "[the refusal text of the policy; steer: failed]" in " ".join(done.output.replace("│", " ").split())


def test_a_direction_that_is_missing_or_anothers_stops_the_command_before_it_generates(folder) -> None:
    done = run(folder, {"action": "steer"}, file="lost.safetensors")
    assert done.exit_code and "policy.recovery.0.direction: " in done.output
    assert "lost.safetensors: cannot be read" in done.output
    done = run(folder, {"action": "steer"}, file="twin.safetensors")
    assert done.exit_code and "Directions do not carry over to another model" in done.output
    assert '"step"' not in done.output
