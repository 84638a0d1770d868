"""Signals in, verdicts out: the same as Python's, row by row."""

import json
from pathlib import Path

import numpy as np
import pytest

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.packed_array import PackedArray
from sri_sdk.records import Verdict

VECTORS = Path(__file__).parents[3] / "exporters/onnx/runtimes/vectors"
PORTABLE = ["autoencoder", "isolation-forest", "mahalanobis"]
RULES = ["final", "online"]


def cases_of(name):
    return json.loads((VECTORS / name / "cases.json").read_text())


def array(packed):
    return PackedArray.model_validate_json(json.dumps(packed)).unpack()


def fingerprint_of(name):
    return dict(Bundle.read(VECTORS / name / "bundle").manifest.fingerprint)


@pytest.fixture
def score(program, lines):
    """score(name, rule, **changes): the program's verdicts on the vectors of a bundle."""

    def call(name, rule="final", *options, fingerprint=None):
        cases, manifest = cases_of(name), Bundle.read(VECTORS / name / "bundle").manifest
        given = fingerprint_of(name) if fingerprint is None else fingerprint
        path = lines(manifest.signal.domain, cases["ids"], array(cases["signals"]), array(cases["lengths"]), given)
        done = program.run(VECTORS / name / "bundle", path, "--rule", rule, *options)
        return done, [json.loads(line) for line in done.stdout.splitlines()]

    return call


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", PORTABLE)
def test_verdicts_are_those_of_the_vectors(score, name, rule):
    done, verdicts = score(name, rule)
    assert done.returncode == 0, done.stderr
    for verdict, expected in zip(verdicts, cases_of(name)[rule], strict=True):
        same = expected.keys() - {"score", "p_value", "p_range", "tolerance"}
        assert {key: verdict[key] for key in same} == {key: expected[key] for key in same}
        if expected["score"] is None:
            assert verdict["score"] is None is verdict["p_value"]
        else:
            assert abs(verdict["score"] - expected["score"]) <= 1e-6 + 1e-5 * abs(expected["score"])
            assert expected["p_range"][0] <= verdict["p_value"] <= expected["p_range"][1]


@pytest.mark.parametrize("rule", RULES)
def test_a_verdict_is_in_the_schema_every_runtime_shares(score, rule):
    _, verdicts = score("autoencoder", rule)
    digest = Bundle.read(VECTORS / "autoencoder/bundle").digest
    for verdict in verdicts:
        assert list(verdict) == list(Verdict("id", "clear").to_dict())
        assert (verdict["rule"], verdict["bundle"], verdict["schema"], verdict["accepted"]) == (rule, digest, 1, [])
    scores = [verdict["score"] for verdict in verdicts if verdict["score"] is not None]
    assert all(float(np.float32(score)) == score for score in scores)


def test_ids_survive_as_they_are(program, lines):
    ids = ['quote " and \\ back', "漢字 é 🙂", "tab\tnew\nline\x01", "\x7f", ""]
    values = np.full((len(ids), 16, 1), 0.7)
    path = lines("sigma", ids, values, None, fingerprint_of("autoencoder"))
    done = program.run(VECTORS / "autoencoder/bundle", path)
    assert [json.loads(line)["request_id"] for line in done.stdout.splitlines()] == ids


def test_null_and_numbers_beyond_float32_are_not_finite(program, tmp_path):
    path = tmp_path / "signals.jsonl"
    cells = ["0.7"] * 15
    rows = [f'{{"id": "{bad}", "sigma": [{", ".join([*cells, bad])}]}}' for bad in ("null", "1e300", "-1e300", "NaN")]
    path.write_text("\n".join(rows))
    done = program.run(VECTORS / "autoencoder/bundle", path, "--unverified")
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [verdict["status"] for verdict in verdicts] == ["unmonitored"] * 4, done.stderr
    assert {tuple(verdict["reasons"]) for verdict in verdicts} == {("non_finite_signal",)}


def test_signals_of_unknown_origin_need_a_word(score, program, lines):
    values = np.full((1, 16, 1), 0.7)
    path = lines("sigma", ["a"], values, None, None)
    assert "no fingerprint" in program.refusal(VECTORS / "autoencoder/bundle", path)
    done = program.run(VECTORS / "autoencoder/bundle", path, "--unverified")
    assert json.loads(done.stdout)["accepted"] == ["unverified"]


@pytest.mark.parametrize("part", ["hard", "soft"])
def test_another_model_is_refused_and_a_soft_difference_must_be_accepted(score, part):
    fingerprint = json.loads(json.dumps(fingerprint_of("autoencoder")))
    name = next(iter(fingerprint[part]))
    fingerprint[part][name] = {"other": [1, None, True]}
    done, _ = score("autoencoder", "final", fingerprint=fingerprint)
    assert done.returncode == 1
    assert f"signals: {name} is " in done.stderr
    del fingerprint[part][name]
    done, verdicts = score("autoencoder", "final", "--accept", name, fingerprint=fingerprint)
    if part == "hard":
        assert "is not a soft field" in done.stderr
    else:
        assert {tuple(verdict["accepted"]) for verdict in verdicts} == {(name,)}


@pytest.mark.parametrize(("name", "other"), [("anchors", "0" * 64), ("tau", 0.2), ("eps", 1)])
def test_other_anchors_or_settings_are_another_signal(score, name, other):
    manifest = Bundle.read(VECTORS / "autoencoder/bundle").manifest
    own = {"anchors": manifest.anchors.sha256, "tau": manifest.tau, "eps": manifest.eps}
    made_with = {**fingerprint_of("autoencoder"), **own}
    done, _ = score("autoencoder", fingerprint=made_with)
    assert done.returncode == 0, done.stderr
    done, _ = score("autoencoder", fingerprint={**made_with, name: other})
    assert f"made with {name} " in done.stderr


def line(**changes):
    """A line with 16 cells, and what is changed about it; None leaves a key out."""
    value = {"id": "a", "sigma": [0.5] * 16, **changes}
    return json.dumps({key: found for key, found in value.items() if found is not None})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (line(sigma=[0.5]), "cells"),
        (line(sigma=[[0.5, 0.5]] * 16), "cells"),
        (line(sigma=["0.5"] * 16), "cells"),
        (line(sigma=[True] * 16), "cells"),
        (line(length=17), "length"),
        (line(length=-1), "length"),
        (line(length=1.5), "length"),
        (line(mood=1), "line 1"),
        (line(id=1), "line 1"),
        (line(sigma=None, logit=[0.5] * 16), "sigma"),
        (line()[:-1], "line 1"),
        ('["a"]', "line 1"),
        ("", "holds no signals"),
        ('{"sri_signals": 2}', "line 1"),
        (line() + "\n" + line(), "twice"),
        (line() + "\n" + '{"sri_signals": 1}', "line 2"),
    ],
)
def test_what_is_not_a_file_of_signals_is_refused_with_a_reason(program, tmp_path, line, reason):
    path = tmp_path / "signals.jsonl"
    path.write_text(line)
    assert reason in program.refusal(VECTORS / "autoencoder/bundle", path, "--unverified")


def test_signals_come_from_standard_input_too(program):
    done = program.run(VECTORS / "autoencoder/bundle", "-", "--unverified", text=line())
    assert json.loads(done.stdout)["request_id"] == "a"
    assert program.run("--rule", "never").returncode == 2
