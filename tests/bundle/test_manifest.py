"""Manifests that lie, and files that are not manifests."""

import json

import numpy as np
import pytest

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.manifest import NO_DIGEST
from sri_sdk.bundle.packed_array import PackedArray
from sri_sdk.errors import BundleError
from sri_sdk.files import sha256
from sri_sdk.scoring.scorer import Scorer


def rewritten(folder, change):
    """Changes the manifest and gives it a fitting digest again, as an attacker would."""
    path = folder / "manifest.json"
    value = json.loads(path.read_text())
    change(value)
    value["digest"] = NO_DIGEST
    text = json.dumps(value, sort_keys=True, indent=1) + "\n"
    path.write_text(text.replace(f'\n "digest": "{NO_DIGEST}"', f'\n "digest": "{sha256(text.encode())}"'))
    return folder


def rename(value, key):
    value["other"] = value.pop(key)


def packed(values):
    array = np.array(values)
    return json.loads(PackedArray.pack(array.astype(np.float32) if array.dtype != bool else array).model_dump_json())


def rows(manifest):
    return manifest["golden"]["signal"]["score"]["shape"][0]


def test_a_missing_folder_and_a_folder_without_manifest_say_what_to_do(tmp_path):
    with pytest.raises(BundleError, match="not a bundle folder"):
        Bundle.read(tmp_path / "nothing")
    with pytest.raises(BundleError, match=r"manifest\.json is missing"):
        Bundle.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=3), "format 3, this SDK reads 1 and 2"),
        (lambda m: m.update(format=True), "format True, this SDK reads 1"),
        (lambda m: m.update(format=1.0), "format 1.0, this SDK reads 1"),
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m["signal"].update(cells=31), "does not have the edges"),
        (lambda m: m["rules"].pop("online"), "rules must be final and online"),
        (lambda m: m["rules"]["final"].update(value="high"), "rules.final.value"),
        (lambda m: m["graphs"].pop("prefix"), "graphs signal and prefix are required"),
        (lambda m: m["rules"]["final"]["scores"].update(base64="AAAA"), "scores"),
        (lambda m: m["rules"]["final"]["scores"].update(shape=[-1, -399]), "rules.final.scores.shape"),
        (lambda m: m["rules"]["final"].update(n=398), "scores are not n float32 numbers"),
        (lambda m: m["rules"]["final"].update(rank=1000), "scores are not n float32 numbers"),
        (lambda m: m["rules"]["final"].update(value=1e39), "a threshold is above invalid_score"),
        (lambda m: m.update(invalid_score=0.0), r"invalid_score must be 3\.0000000054977558e"),
        (lambda m: m.update(sensitive=True), "sensitive must say"),
        (lambda m: m["graphs"].update(extra=m["graphs"]["signal"]), "graph"),
        (lambda m: m["graphs"]["signal"]["outputs"].pop("valid"), "does not have the edges"),
        (lambda m: m["graphs"]["signal"].update(file="prefix.onnx"), "files and graphs differ"),
        (lambda m: m["golden"]["signal"]["inputs"].clear(), "golden inputs of graph signal do not fit"),
        (lambda m: m["golden"]["prefix"]["inputs"].pop("length"), "golden inputs of graph prefix do not fit"),
        (lambda m: rename(m["golden"]["signal"]["inputs"], "signals"), "golden inputs of graph signal do not fit"),
        (lambda m: rename(m["golden"], "signal"), "every graph needs golden vectors"),
        (lambda m: rename(m["graphs"], "signal"), "graph 'other' is unknown; allowed: signal"),
        (lambda m: m["golden"]["signal"].update(valid=m["golden"]["prefix"]["valid"]), "one number per row"),
        (lambda m: m["golden"]["signal"].update(tolerance=packed([np.inf] * rows(m))), "a tolerance is not a number"),
        (lambda m: m["golden"]["signal"].update(valid=packed([True] * rows(m))), "all valid"),
        (lambda m: m["signal"].update(high=-1.0), "signal.low is not below"),
        (lambda m: m["files"]["signal.onnx"].update(sha256="x" * 64), "files.signal.onnx.sha256"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused_in_one_line(folder, change, message):
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.read(rewritten(folder, change))
    assert "\n" not in str(caught.value)


def test_a_runtime_that_computes_other_numbers_never_scores(folder):
    def tamper(manifest):
        golden = manifest["golden"]["signal"]
        score = PackedArray(**{**golden["score"], "shape": tuple(golden["score"]["shape"])}).unpack()
        score[3] *= 1.01
        golden["score"] = json.loads(PackedArray.pack(score).model_dump_json())

    rewritten(folder, tamper)
    assert Bundle.read(folder).manifest.golden
    with pytest.raises(BundleError, match="scores golden row 3"):
        Scorer.open(folder)


def test_a_graph_with_other_edges_than_promised_is_refused(folder):
    def rename(manifest):
        outputs = manifest["graphs"]["signal"]["outputs"]
        outputs["verdict"] = outputs.pop("score")

    with pytest.raises(BundleError, match="graph signal does not have the edges"):
        Scorer.open(rewritten(folder, rename))


def test_a_key_that_is_written_twice_is_refused(folder):
    path = folder / "manifest.json"
    text = path.read_text().replace('\n "eps"', '\n "tau": 1.0,\n "eps"', 1)
    digest = json.loads(text)["digest"]
    blank = text.replace(digest, NO_DIGEST)
    path.write_text(blank.replace(NO_DIGEST, sha256(blank.encode()), 1))
    with pytest.raises(BundleError, match="a key is written twice"):
        Bundle.read(folder)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"format": NaN}', b"\xff", b"null", b"9" * 10_000, b""])
def test_what_is_not_a_manifest_is_refused_in_one_line(folder, content):
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json") as caught:
        Bundle.read(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pooling": {"window": 2**53}}, f"manifest: pooling.window: {2**53} is an integer beyond"),
        ({"grid": [1, float("nan")]}, "manifest: grid.1: nan is not a JSON number"),
        ({"fingerprint": {"hard": {"layer": float("inf")}, "soft": {}}}, "manifest: fingerprint.hard.layer: inf"),
        ({"producer": {"x": "\ud800"}}, "manifest: producer.x: '\\ud800' has half of a surrogate pair"),
        ({"pooling": json.loads("[" * 64 + "]" * 64)}, "more than 64 levels"),
        ({"tau": float("nan")}, "manifest: tau: nan"),
    ],
)
def test_a_manifest_that_readers_would_refuse_is_not_written_and_names_the_place(folder, change, said):
    manifest = Bundle.read(folder).manifest.model_copy(update=change)
    with pytest.raises(BundleError) as caught:
        manifest.to_bytes()
    assert said in str(caught.value)
