"""`sri steer` as an operator types it: a direction from one YAML file, and what a file says of itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from sri_sdk.cli import main
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.file import load_direction, save_direction
from tests.fitting.conftest import SMALL, write_config

STEER = {
    "split": "fit", "harmless": 32, "harmful": 32, "validation": {"harmless": 8, "harmful": 8},
    "limits": {"finalists": 2},
}  # fmt: skip


def sri(*words: object) -> Result:
    return CliRunner().invoke(main, ["steer", *map(str, words)])


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """A config, the direction of its model, and what `--json` said."""
    folder = tmp_path_factory.mktemp("steer")
    config = write_config(folder, steer=STEER)
    done = sri("extract", config, "--json")
    assert done.exit_code == 0, done.stderr
    return config, folder / "guard/directions/refusal.safetensors", json.loads(done.stdout)


def test_extract_writes_a_direction_that_takes_refusals_away(extracted) -> None:
    _, path, told = extracted
    assert told["file"] == str(path) and told["vectors"] == [1, 128] and told["blocks"] == 4
    taken, before = (told["provenance"]["selection"][name] for name in ("taken", "unsteered"))
    assert taken["harmful_refused"]["k"] < 4 < before["harmful_refused"]["k"] and taken["kl"] < 0.1
    assert told["provenance"]["spectrum"]["pairs"] == 16
    assert load_direction(path).provenance == told["provenance"]


def test_an_interrupted_extraction_goes_on_where_it_stopped(extracted, tmp_path: Path, monkeypatch) -> None:
    from sri_sdk.config.load import load_config
    from sri_sdk.evaluation.directions import extract_refusal
    from sri_sdk.steer import select

    config = load_config(write_config(tmp_path, steer=STEER))

    def interrupted(stage: str, done: int, _total: int) -> None:
        if (stage, done) == ("finalists", 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_refusal(config, interrupted)
    made: list[str] = []
    for name in ("_tried", "_rates"):
        real = getattr(select, name)
        monkeypatch.setattr(select, name, lambda *args, real=real, name=name: made.append(name) or real(*args))
    found = extract_refusal(config).direction
    assert made == ["_rates"], "the second of two finalists, and nothing else"
    whole = load_direction(extracted[1])
    assert np.array_equal(found.vectors, whole.vectors) and found.provenance == whole.provenance
    assert not list((tmp_path / "guard").rglob("*.safetensors")), "what is kept holds no direction"


def test_its_prompts_are_in_no_fold_and_not_among_those_that_chose_it(extracted, monkeypatch) -> None:
    from sri_sdk.config.load import load_config
    from sri_sdk.evaluation import directions

    config = load_config(extracted[0])
    seen: dict[str, list] = {}
    monkeypatch.setattr(directions, "extract_means", lambda _h, _t, a, b, **_: seen.update(made=[*a, *b]))

    class Enough(Exception):
        pass

    def trial(*args: Any, **_: Any) -> None:
        seen["chose"] = [*args[4], *args[5]]
        raise Enough

    monkeypatch.setattr(directions, "Trial", trial)
    with pytest.raises(Enough):
        directions.extract_refusal(config)
    folds = {p.text for prompts in directions.prompts_of(config).named().values() for p in prompts}
    made, chose = ({p.text for p in seen[name]} for name in ("made", "chose"))
    assert len(made) == 64 and len(chose) == 16
    assert not made & chose and not (made | chose) & folds


def test_an_existing_file_is_kept_unless_replacing_is_asked_for(extracted) -> None:
    config, path, _ = extracted
    before = path.read_bytes()
    done = sri("extract", config)
    assert done.exit_code == 1 and "exists already. Give --replace" in done.stderr
    assert path.read_bytes() == before
    assert "is a folder" in sri("extract", config, "--out", path.parent, "--replace").stderr and path.exists()


def test_a_place_where_nothing_can_be_written_is_known_before_the_model_is_loaded(extracted, monkeypatch) -> None:
    monkeypatch.setattr("sri_sdk.fitting.deployment.Deployment.open", lambda *_: pytest.fail("a model was loaded"))
    config, path, _ = extracted
    done = sri("extract", config, "--out", path / "inside" / "one.safetensors")
    assert done.exit_code == 1 and f"{path} is no folder" in done.stderr


def test_an_attribute_without_a_name_does_not_write_the_refusal_direction(extracted, tmp_path: Path) -> None:
    config, path, _ = extracted
    before = path.read_bytes()
    texts = ("--with", tmp_path / "a", "--without", tmp_path / "b")
    for name in ("", " "):
        done = sri("extract", config, "--attribute", name, *texts, "--replace")
        assert done.exit_code == 2 and "--attribute: is empty" in done.stderr
    assert path.read_bytes() == before


def test_inspect_says_what_it_is_for_and_what_it_was_made_of(extracted) -> None:
    _, path, told = extracted
    done = sri("inspect", path)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("Sensitive: ablating this direction takes the model's refusals away.")
    for word in ("post+", "harmful refused, ablated", "spectrum first", "hard weights_digest", "soft dtype"):
        assert word in done.stdout
    assert {**json.loads(sri("inspect", path, "--json").stdout), "file": str(path)} == told


def test_inspect_says_of_every_candidate_whether_it_was_taken_or_why_not(extracted) -> None:
    _, path, told = extracted
    table = sri("inspect", path).stdout.split("TAKEN, OR WHY NOT\n")[1].splitlines()
    assert len(table) == len(told["provenance"]["selection"]["candidates"])
    assert sum(line.endswith(" taken") for line in table) == 1 and not any(line.endswith(" -") for line in table)


def test_inspect_says_whether_it_belongs_to_a_model(extracted, tmp_path: Path) -> None:
    config, path, _ = extracted
    assert json.loads(sri("inspect", path, "--config", config, "--json").stdout)["fits"] is True
    other = write_config(tmp_path, model={"hook": "lab-diffusion", "options": {"weights": "diffusion-2"}})
    done = sri("inspect", path, "--config", other)
    assert done.exit_code == 1 and "weights_digest is" in done.stderr and "extract one for this model" in done.stderr


def test_a_config_without_the_section_says_what_to_add(tmp_path: Path) -> None:
    done = sri("extract", write_config(tmp_path))
    assert done.exit_code == 1 and "Add a section such as steer: {split: fit" in done.stderr
    assert not (tmp_path / "guard").exists()


def test_too_few_prompts_are_said_with_the_path_of_the_count(tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    rows = [{"text": f"{label} number {i}", "label": label} for label in ("harmless", "harmful") for i in range(90)]
    few.write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = dict.fromkeys(("fit", "calibration", "test"), str(few))
    prompts = {"dataset": "jsonl", "options": {"files": names}}
    folds = {k: v for k, v in SMALL["folds"].items() if k not in ("test", "calibration")}
    folds["calibration"] = {"split": "fit", "harmless": 19}
    done = sri("extract", write_config(tmp_path, steer=STEER, prompts=prompts, folds=folds))
    assert done.exit_code == 1 and "steer.harmless: 32 harmless prompts are wanted" in done.stderr


def test_an_attribute_comes_from_two_texts(extracted, tmp_path: Path) -> None:
    from sri_sdk import registry

    lab = registry.build("datasets", "lab", {})
    for name, attack in (("plain", None), ("second", "second-language")):
        texts = [p.text for p in lab.prompts("fit", "harmless", 24, attack=attack)]
        (tmp_path / name).write_text("\n".join(texts) + "\n\n")
    words = ("--attribute", "second language", "--with", tmp_path / "second", "--without", tmp_path / "plain")
    done = sri("extract", extracted[0], *words, "--place", "post+0", "--out", tmp_path / "x.safetensors", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["vectors"] == [4, 128] and told["provenance"]["place"] == "post+0" and told["name"] == "second language"
    assert told["provenance"]["prompts"]["with"]["n"] == 24
    gaps = np.subtract(told["means"]["with"], told["means"]["without"])
    assert gaps == pytest.approx(told["provenance"]["length"], rel=1e-4)
    assert "one per block" in sri("inspect", tmp_path / "x.safetensors").stdout
    done = sri("extract", extracted[0], *words, "--place", "post+9", "--out", tmp_path / "y.safetensors")
    assert done.exit_code == 1 and "found post+9; the template of this model has" in done.stderr


def test_files_and_attribute_go_together(extracted, tmp_path: Path) -> None:
    assert "--with: only with --attribute" in sri("extract", extracted[0], "--with", tmp_path / "a").stderr
    done = sri("extract", extracted[0], "--attribute", "x", "--with", tmp_path / "a")
    assert done.exit_code == 2 and "needs --without as well" in done.stderr
    both = ("--with", tmp_path / "a", "--without", tmp_path / "b")
    done = sri("extract", extracted[0], "--attribute", "x", *both)
    assert done.exit_code == 1 and f"{tmp_path / 'b'}: cannot be read: No such file" in done.stderr
    assert "makes no name of a file" in sri("extract", extracted[0], "--attribute", "/..", *both).stderr


ASKED = ("--prompt", "how do i paint the kite of the baker ?", "--prompt", "how do i steal the lantern of the baker ?")


def outcomes(*words: object) -> list[tuple[str, str]]:
    """Of both prompts: without and with steering."""
    done = sri("apply", *words, *ASKED, "--json")
    assert done.exit_code == 0, done.stderr
    return [(each["unsteered"]["outcome"], each["steered"]["outcome"]) for each in json.loads(done.stdout)["answers"]]


def test_apply_shows_answers_with_the_direction_beside_those_without(extracted) -> None:
    config, path, _ = extracted
    assert outcomes(config, path, "--clamp", "-1")[1] == ("refusal", "harmful")
    assert outcomes(config, path, "--add", "0") == [("harmless", "harmless"), ("refusal", "refusal")]
    # Twice in one process: what was steered before is as it was.
    assert outcomes(config, path, "--add", "2") == [("harmless", "refusal"), ("refusal", "refusal")]
    done = sri("apply", config, path)
    assert done.exit_code == 0 and done.stdout.count("unsteered") == 2
    assert done.stdout.startswith("ablate along refusal, at blocks 0, 1, 2, 3")


def test_apply_acts_at_the_blocks_that_are_named(extracted) -> None:
    config, path, told = extracted
    words = ("apply", config, path, "--add", "1", *ASKED, "--json")
    assert json.loads(sri(*words).stdout)["blocks"] == [told["provenance"]["block"]]
    assert json.loads(sri(*words, "--layers", "0, 3").stdout)["blocks"] == [0, 3]
    assert "has blocks 0 to 3" in sri(*words, "--layers", "4").stderr
    assert "numbers of blocks are needed" in sri(*words, "--layers", "x").stderr


def test_apply_does_one_thing_and_on_the_direction_s_own_model_only(extracted, tmp_path: Path) -> None:
    config, path, _ = extracted
    done = sri("apply", config, path, "--ablate", "--add", "1")
    assert done.exit_code == 2 and "--ablate and --add: choose one of them" in done.stderr
    other = write_config(tmp_path, model={"hook": "lab-diffusion", "options": {"weights": "diffusion-2"}})
    assert "weights_digest is" in sri("apply", other, path).stderr
    assert "--prompt: is empty" in sri("apply", config, path, "--prompt", " ").stderr


def test_a_foreign_file_neither_crashes_nor_steers_the_terminal(tmp_path: Path) -> None:
    odd: dict[str, Any] = {
        "block": "\x1b[2J", "place": ["a"], "prompts": 3, "spectrum": [1], "method": None,
        "selection": {"taken": {"harmful_refused": {"k": "\x1b]0;x"}, "kl": []}, "candidates": [1, {"kl": {}}]},
        "model": {"hard": {"architecture": "\x1b[31m"}, "soft": []},
    }  # fmt: skip
    vectors, means = np.array([[1, 0]], np.float32), np.zeros((2, 3), np.float32)
    save_direction(Direction("\x1b[1mx\n", vectors, "\u202ey", means, odd), tmp_path / "a")
    done = sri("inspect", tmp_path / "a")
    assert done.exit_code == 0, done.stderr
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout and r"\x1b[2J" in done.stdout
    assert "\x1b" not in sri("inspect", tmp_path / "a", "--json").stdout


def test_what_is_no_direction_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(yaml.safe_dump({"a": 1}))
    for path in (tmp_path / "a", tmp_path / "none"):
        done = sri("inspect", path)
        assert done.exit_code == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
