"""The test vectors of format 2: ours, and a reader written from the documentation, agree with what is in them."""

import json

import numpy as np
import pytest

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.errors import BundleError, ScoringError
from sri_sdk.files import sha256
from sri_sdk.records import Signals
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.scoring.signal_files import read_signals
from tests.runtimes.refusals import PART_MANIFESTS, PART_SIGNALS, bundle_of

from .parts import PARTS_GUARDS
from .reader import Refused
from .reader_2 import PartsReader
from .test_vectors import cases_of, unpack
from .write import FOLDER
from .write_parts import write_part_vectors

NAMES = sorted(PARTS_GUARDS)
RULES = ["final", "online", "request"]


def signals_of(name, cases):
    values, manifest = unpack(cases["signals"]), Bundle.read(FOLDER / name / "bundle").manifest
    groups = None if cases["groups"] is None else tuple(cases["groups"])
    return Signals(
        tuple(cases["ids"]),
        values,
        values,
        manifest.fingerprint,
        unpack(cases["lengths"]),
        manifest.column_names,
        groups,
    )


def agree(found, expected):
    """Whether a verdict is the expected one, with the room a runtime has."""
    rough = {"score", "p_value", "tolerance", "p_range", "parts", "request_id"}
    same = expected.keys() - rough
    assert {key: found[key] for key in same} == {key: expected[key] for key in same}, expected["request_id"]
    assert len(found["parts"]) == len(expected["parts"])
    pairs = [(found, expected), *zip(found["parts"], expected["parts"], strict=True)]
    for one, wanted in pairs:
        assert {key: one[key] for key in wanted.keys() - rough} == {key: wanted[key] for key in wanted.keys() - rough}
        assert (one["score"] is None) == (wanted["score"] is None) == (one["p_value"] is None)
        if wanted["score"] is not None:
            assert abs(one["score"] - wanted["score"]) <= wanted["tolerance"]
            low, high = wanted["p_range"]
            assert low <= one["p_value"] <= high


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NAMES)
def test_we_give_the_verdicts(name, rule):
    pytest.importorskip("cryptography")
    cases = cases_of(name)
    scorer = Scorer.open(FOLDER / name / "bundle", public_key=FOLDER / "key.pub")
    for verdict, expected in zip(scorer.score(signals_of(name, cases), rule=rule), cases[rule], strict=True):
        agree(verdict.to_dict(), expected)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NAMES)
def test_a_reader_written_from_the_documentation_gives_them_too(name, rule):
    cases, reader = cases_of(name), PartsReader(FOLDER / name / "bundle")
    groups = cases["groups"] or [None] * len(cases["ids"])
    rows = zip(unpack(cases["signals"]), unpack(cases["lengths"]).tolist(), groups, cases[rule], strict=True)
    for signal, length, group, expected in rows:
        agree(reader.verdict(rule, signal, length, group), expected)


def test_the_edge_cases_end_in_every_way_a_verdict_can():
    every = [verdict for name in NAMES for rule in RULES for verdict in cases_of(name)[rule]]
    assert {v["status"] for v in every} == {"clear", "flagged", "unmonitored"}
    assert {r for v in every for r in v["reasons"]} == {
        "request_harmful", "signal_unfamiliar", "pair_unfamiliar", "not_as_usual", "signal_low", "incomplete_signal",
        "request_missing", "non_finite_signal", "signal_out_of_range", "unknown_group",
    }  # fmt: skip
    assert {v["ended"] for v in every} == {"refusing", "complying", None}
    assert {v["group"] for v in every} == {"de", "en", "zh-Hant", None}
    assert {v["judged_steps"] for v in every} == {6, 10, None}
    assert {len(v["reasons"]) for v in every} == {0, 1, 2, 3}


def test_two_groups_of_one_threshold_have_scores_of_their_own():
    rules = Bundle.read(FOLDER / "groups/bundle").manifest.rules
    one, other = (rules["final"].parts["harm"].groups[name] for name in ("en", "zh-Hant"))
    assert one.value == other.value and one.scores != other.scores


@pytest.mark.parametrize("name", NAMES)
def test_damage_is_refused_by_both_readers(name, tmp_path):
    whole = {path.name: path.read_bytes() for path in (FOLDER / name / "bundle").iterdir()}
    for damage in json.loads((FOLDER / "damage-2.json").read_text()):
        if damage["bundle"] != name:
            continue
        content = bytearray(whole[damage["file"]])
        content[damage["offset"]] ^= damage["xor"]
        folder = tmp_path / f"{damage['file']}-{damage['offset']}"
        folder.mkdir(exist_ok=True)
        for file, old in whole.items():
            (folder / file).write_bytes(bytes(content) if file == damage["file"] else old)
        with pytest.raises(BundleError):
            Bundle.read(folder)
        with pytest.raises((Refused, ValueError, KeyError)):
            PartsReader(folder)


def test_every_changed_byte_of_a_manifest_is_refused():
    folder = FOLDER / "request-horizon/bundle"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    whole = files["manifest.json"]
    for at in range(len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        with pytest.raises(BundleError):
            Bundle.of(folder, {**files, "manifest.json": bytes(changed)})


# -- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", PART_MANIFESTS["refused"], ids=lambda case: case["name"])
def test_a_manifest_of_the_vectors_is_refused(case, tmp_path):
    with pytest.raises(BundleError, match=r"manifest\.json|is not listed|of tier python"):
        Bundle.read(bundle_of(case, tmp_path / "bundle"))
        if "only Python may load" in case["name"]:  # Here it may.
            raise BundleError("of tier python")


@pytest.mark.parametrize("case", PART_MANIFESTS["accepted"], ids=lambda case: case["name"])
def test_a_manifest_of_the_vectors_is_read(case, tmp_path):
    assert Scorer.open(bundle_of(case, tmp_path / "bundle"))


@pytest.mark.parametrize("case", PART_SIGNALS["refused"], ids=lambda case: case["name"])
def test_signals_of_the_vectors_are_refused(case, tmp_path):
    path = tmp_path / "signals.jsonl"
    path.write_bytes(case["content"])
    scorer = Scorer.open(FOLDER / case["bundle"] / "bundle")
    with pytest.raises(ScoringError):
        scorer.score(read_signals(path, scorer.manifest.signal.domain), unverified=True)


@pytest.mark.parametrize("case", PART_SIGNALS["accepted"], ids=lambda case: case["name"])
def test_signals_of_the_vectors_are_judged(case, tmp_path):
    path = tmp_path / "signals.jsonl"
    path.write_bytes(case["content"])
    scorer = Scorer.open(FOLDER / case["bundle"] / "bundle")
    assert scorer.score(read_signals(path, scorer.manifest.signal.domain), unverified=True)


# -- the files -------------------------------------------------------------------------------------------------


def test_writing_them_twice_gives_the_same_bytes(tmp_path):
    pytest.importorskip("cryptography")
    written = []
    for name in "ab":
        write_part_vectors(tmp_path / name)
        files = (path for path in (tmp_path / name).rglob("*") if path.is_file())
        written.append({path.relative_to(tmp_path / name): sha256(path.read_bytes()) for path in files})
    assert written[0] == written[1]


def test_a_request_is_the_same_number_in_every_cell_where_it_is_known():
    for name in NAMES:
        cases = cases_of(name)
        odd = [
            i for i, row in zip(cases["ids"], unpack(cases["signals"]), strict=True) if np.unique(row[:, -1]).size > 1
        ]
        assert set(odd) <= {
            "request-missing-in-one-cell", "request-missing-in-the-first-cell", "request-out-of-range-in-the-last-cell",
        } | {i for i in cases["ids"] if i.startswith("attack-at-the-end")}  # fmt: skip
