"""The test vectors of the runtimes: ours, and a reader written from the documentation, agree with what is in them."""

import json
from dataclasses import fields

import numpy as np
import pytest

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.files import put_file
from sri_sdk.bundle.packed_array import PackedArray
from sri_sdk.errors import BundleError
from sri_sdk.records import Signals
from sri_sdk.scoring.scorer import Scorer, load_graphs
from sri_sdk.scoring.self_test import self_test
from tests.runtimes.lying import LIES, lying_bundle, lying_signals

from .parts import PARTS_GUARDS
from .reader import Reader, Refused
from .write import FOLDER, GUARDS, write_vectors

NAMES = sorted(GUARDS)
MOST_BYTES = 1_000_000


def cases_of(name):
    return json.loads((FOLDER / name / "cases.json").read_text())


def unpack(packed):
    return PackedArray(**{**packed, "shape": tuple(packed["shape"])}).unpack()


def signals_of(name, cases):
    values = unpack(cases["signals"])
    fingerprint = Bundle.read(FOLDER / name / "bundle").manifest.fingerprint
    return Signals(tuple(cases["ids"]), values, values, fingerprint, unpack(cases["lengths"]))


def agree(found, expected):
    """Whether a verdict is the expected one, with the room a runtime has."""
    for key in ("status", "reasons", "first_alarm_step"):
        assert found[key] == expected[key], f"{expected['request_id']}: {key}"
    assert (found["score"] is None) == (expected["score"] is None)
    if expected["score"] is not None:
        assert abs(found["score"] - expected["score"]) <= expected["tolerance"]
        low, high = expected["p_range"]
        assert low <= found["p_value"] <= high


@pytest.mark.parametrize("rule", ["final", "online"])
@pytest.mark.parametrize("name", NAMES)
def test_we_give_the_verdicts(name, rule):
    pytest.importorskip("cryptography")
    cases = cases_of(name)
    scorer = Scorer.open(FOLDER / name / "bundle", public_key=FOLDER / "key.pub")
    for verdict, expected in zip(scorer.score(signals_of(name, cases), rule=rule), cases[rule], strict=True):
        agree(verdict.to_dict(), expected)


@pytest.mark.parametrize("rule", ["final", "online"])
@pytest.mark.parametrize("name", NAMES)
def test_a_reader_written_from_the_documentation_gives_them_too(name, rule):
    cases, reader = cases_of(name), Reader(FOLDER / name / "bundle")
    values, lengths = unpack(cases["signals"]), unpack(cases["lengths"])
    for signal, length, expected in zip(values, lengths.tolist(), cases[rule], strict=True):
        agree(reader.verdict(rule, signal, length), expected)


@pytest.mark.parametrize("rule", ["final", "online"])
def test_neither_reader_believes_a_score_that_is_no_number(rule, tmp_path):
    bundle = lying_bundle(tmp_path / "bundle")
    ids, values = lying_signals(16)
    ours = Scorer.open(bundle).score(Signals(tuple(ids), values, values, None), rule=rule, unverified=True)
    for signal, verdict in zip(values, ours, strict=True):
        found = Reader(bundle).verdict(rule, signal, 16)
        assert (found["status"], tuple(found["reasons"])) == (verdict.status, verdict.reasons)
    assert [v.reasons for v in ours[:-1]] == [("score_not_finite",)] * len(LIES)


def test_the_edge_cases_end_in_every_way_a_verdict_can():
    found = {
        (v["status"], *v["reasons"]) for name in NAMES for rule in ("final", "online") for v in cases_of(name)[rule]
    }
    assert found == {
        ("clear",), ("flagged", "score_above_threshold"), ("flagged", "score_above_threshold", "non_finite_signal"),
        ("unmonitored", "incomplete_signal"), ("unmonitored", "non_finite_signal"),
        ("unmonitored", "signal_out_of_range"),
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in NAMES if "full" in cases_of(name)])
def test_graphs_that_take_activations_agree(name):
    cases, bundle = cases_of(name), Bundle.read(FOLDER / name / "bundle")
    runs = load_graphs(bundle, tuple(bundle.manifest.graphs))
    assert self_test(bundle, runs).keys() == {"signal", "prefix", "full", "step"}
    full = {key: unpack(packed) for key, packed in cases["full"].items()}
    activations = full.pop("activations")
    compare(dict(zip(full, runs["full"](list(full), {"activations": activations}), strict=True)), full)
    step = {key: unpack(packed) for key, packed in cases["step"].items()}
    state = np.full_like(full["sigma"], np.nan)
    cells = activations.shape[1]
    for call, told in enumerate(step.pop("steps")):
        phi = np.ascontiguousarray(activations[:, np.clip(told[0], 0, cells - 1)])
        found = dict(zip(step, runs["step"](list(step), {"phi": phi, "step": told, "state": state}), strict=True))
        compare(found, {key: array[call] for key, array in step.items()})
        state = found["state_out"]


def compare(found, expected):
    assert found["valid"].tolist() == expected["valid"].tolist()
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", NAMES)
def test_damage_is_refused_by_both_readers(name, tmp_path):
    import shutil

    folder = shutil.copytree(FOLDER / name / "bundle", tmp_path / "bundle")
    for damage in json.loads((FOLDER / "damage.json").read_text()):
        if damage["bundle"] != name:
            continue
        whole = (folder / damage["file"]).read_bytes()
        at = damage["offset"]
        put_file(folder, damage["file"], whole[:at] + bytes([whole[at] ^ damage["xor"]]) + whole[at + 1 :])
        with pytest.raises(BundleError):
            Bundle.read(folder)
        with pytest.raises((Refused, ValueError, KeyError)):
            Reader(folder)
        put_file(folder, damage["file"], whole)
    assert Bundle.read(folder)


def test_they_are_small_and_hold_nothing_else():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    assert {path.relative_to(FOLDER).parts[0] for path in files} == {
        "key.pub", "README.md", "damage.json", "refusals.json", "damage-2.json", "refusals-2.json",
        *NAMES, *PARTS_GUARDS,
    }  # fmt: skip


def test_writing_them_twice_gives_the_same_bytes(tmp_path):
    pytest.importorskip("cryptography")
    written = []
    for name in "ab":
        write_vectors(tmp_path / name, ["mahalanobis"])
        files = (path for path in (tmp_path / name).rglob("*") if path.is_file())
        written.append({path.relative_to(tmp_path / name): path.read_bytes() for path in files})
    assert written[0] == written[1]


def test_a_verdict_has_the_fields_the_vectors_check():
    from sri_sdk.records import Verdict

    assert {"status", "reasons", "score", "p_value", "first_alarm_step", "threshold"} <= {
        f.name for f in fields(Verdict)
    }
