import json
import os

import numpy as np
import onnx
import pytest
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_toy.detector import ToyDetector

from sri_sdk.bundle import files as bundle_files
from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.files import put_file, write_files
from sri_sdk.bundle.manifest import NO_DIGEST
from sri_sdk.bundle.packed_array import PackedArray
from sri_sdk.bundle.stored_zip import pack
from sri_sdk.errors import BundleError
from sri_sdk.files import sha256
from sri_sdk.fitting.build import fit_guard
from sri_sdk.scoring.guard import Guard
from sri_sdk.scoring.scorer import Scorer


def rewritten(folder, change):
    """Changes the manifest and gives it a fitting digest again, as somebody who means harm would."""
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


@pytest.fixture
def folder(guard_copy):
    return guard_copy / "bundle"


def test_a_bundle_reads_back_as_it_was_written(fitted):
    again = Bundle.read(fitted.path)
    assert again.manifest == fitted.manifest
    assert again.digest == fitted.digest
    assert sorted(again.files) == ["prefix.onnx", "signal.onnx"]


def test_the_digest_can_be_checked_without_a_json_library(fitted):
    content = (fitted.path / "manifest.json").read_bytes()
    assert sha256(content.replace(fitted.digest.encode(), b"0" * 64)) == fitted.digest


@pytest.mark.parametrize("name", ["manifest.json", "signal.onnx", "prefix.onnx"])
def test_a_flipped_bit_anywhere_is_refused(folder, name):
    whole = (folder / name).read_bytes()
    for at in np.linspace(0, len(whole) - 1, 60).astype(int):
        (folder / name).write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(BundleError, match=name):
            Bundle.read(folder)


def test_only_the_listed_files_may_be_there(folder):
    (folder / "extra.txt").write_text("x")
    with pytest.raises(BundleError, match=r"extra\.txt is not listed"):
        Bundle.read(folder)
    (folder / "extra.txt").unlink()
    (folder / "prefix.onnx").unlink()
    with pytest.raises(BundleError, match=r"prefix\.onnx is missing"):
        Bundle.read(folder)


def test_links_and_folders_are_refused_unread(folder):
    (folder / "prefix.onnx").rename(folder.parent / "elsewhere")
    (folder / "prefix.onnx").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(BundleError, match=r"prefix\.onnx is not a plain file"):
        Bundle.read(folder)
    (folder / "prefix.onnx").unlink()
    (folder / "sub").mkdir()
    with pytest.raises(BundleError, match="sub is not a plain file"):
        Bundle.read(folder)


def test_a_pipe_does_not_hang_the_reader(folder):
    os.mkfifo(folder / "pipe")
    with pytest.raises(BundleError, match="pipe is not a plain file"):
        Bundle.read(folder)


def test_neither_a_pipe_nor_an_endless_device_is_read_as_a_zip(tmp_path):
    os.mkfifo(tmp_path / "pipe.zip")
    for path in (tmp_path / "pipe.zip", "/dev/zero"):
        with pytest.raises(BundleError, match="not a plain file"):
            Bundle.read(path)


def test_too_many_bytes_are_refused_before_they_are_read(folder, monkeypatch):
    monkeypatch.setattr(bundle_files, "LARGEST_BUNDLE", 1000)
    with pytest.raises(BundleError, match="allowed are 1000"):
        Bundle.read(folder)


@pytest.mark.parametrize("name", [".DS_Store", "-rf", "ünïcode", "with space", "back\\slash", "x" * 101])
def test_a_name_that_is_more_than_a_name_is_refused(folder, name):
    (folder / name).write_text("x")
    with pytest.raises(BundleError, match="allowed are letters, digits"):
        Bundle.read(folder)


def test_a_file_that_becomes_a_link_while_it_is_read_is_refused(folder, monkeypatch):
    """lstat saw a plain file; what is opened is a link to one elsewhere."""
    (folder / "signal.onnx").rename(folder.parent / "elsewhere")
    (folder / "signal.onnx").symlink_to(folder.parent / "elsewhere")
    monkeypatch.setattr(type(folder), "lstat", type(folder).stat)
    with pytest.raises(BundleError, match="cannot be read"):
        Bundle.read(folder)


def test_a_folder_of_a_thousand_files_is_refused_unread(folder):
    for number in range(1000):
        (folder / f"{number}").touch()
    with pytest.raises(BundleError, match="more than 16 files"):
        Bundle.read(folder)


# -- zip -------------------------------------------------------------------------------------------------------


@pytest.fixture
def zipped(fitted, tmp_path):
    return write_files(tmp_path / "guard.zip", fitted.members, zipped=True)


def test_a_zip_is_the_same_bundle(fitted, zipped, make_signals):
    again = Bundle.read(zipped)
    assert (again.digest, again.files, again.members) == (fitted.digest, fitted.files, fitted.members)
    signals = make_signals(5, 4)
    assert Scorer.open(zipped).score(signals) == Scorer.open(fitted.path).score(signals)


@pytest.mark.parametrize(
    "name", ["../evil.onnx", "/etc/passwd", "..\\evil.onnx", "a/b", ".hidden", "C:evil", "con\x00"]
)
def test_a_member_cannot_leave_the_zip(fitted, tmp_path, name):
    path = tmp_path / "guard.zip"
    path.write_bytes(pack({**fitted.members, name: b"x"}))
    with pytest.raises(BundleError, match="allowed are letters, digits"):
        Bundle.read(path)
    assert [x.name for x in tmp_path.iterdir()] == ["guard.zip"]


def test_members_that_are_missing_or_too_many_are_named(fitted, tmp_path):
    path = tmp_path / "guard.zip"
    for members, problem in [
        ({**fitted.members, "extra.bin": b""}, r"extra\.bin is not listed"),
        ({n: c for n, c in fitted.members.items() if n != "prefix.onnx"}, r"prefix\.onnx is missing"),
        (fitted.files, r"manifest\.json is missing"),
    ]:
        path.write_bytes(pack(members))
        with pytest.raises(BundleError, match=problem):
            Bundle.read(path)


def test_a_file_is_added_to_either_form_without_a_trace(folder, zipped):
    before = sorted(x.name for x in folder.parent.iterdir())
    for path in (folder, zipped):
        put_file(path, "model.sig", b"{}")
        assert Bundle.read(path).unlisted["model.sig"] == b"{}"
    assert sorted(x.name for x in folder.parent.iterdir()) == before


def test_a_guard_whose_bundle_is_a_zip_loads(guard_copy, fitted):
    write_files(guard_copy / "bundle", fitted.members, zipped=True)
    for path in (guard_copy, guard_copy / "bundle"):
        assert Guard.load(path, digest=fitted.digest).scorer.bundle.digest == fitted.digest


def test_two_zips_of_the_same_guard_are_the_same_bytes(tmp_path, anchors, make_signals):
    exporter = OnnxExporter(OnnxExporter.Config(zip=True))
    folds = make_signals(50, 1), make_signals(50, 2), make_signals(99, 3)
    made = [
        fit_guard(ToyDetector(), "toy", *folds, anchors=anchors, exporter=exporter, alpha=0.05, target=tmp_path / name)
        for name in "ab"
    ]
    assert made[0].path.read_bytes() == made[1].path.read_bytes() == pack(made[0].members)


# -- manifests -------------------------------------------------------------------------------------------------


def test_a_missing_folder_and_a_folder_without_manifest_say_what_to_do(tmp_path):
    with pytest.raises(BundleError, match="not a bundle folder"):
        Bundle.read(tmp_path / "nothing")
    with pytest.raises(BundleError, match=r"manifest\.json is missing"):
        Bundle.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=2), "format 2, this SDK reads 1"),
        (lambda m: m.update(format=True), "format True, this SDK reads 1"),
        (lambda m: m.update(format=1.0), "format 1.0, this SDK reads 1"),
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m["signal"].update(cells=31), "has another shape"),
        (lambda m: m["rules"].pop("online"), "rules must be final and online"),
        (lambda m: m["rules"]["final"].update(value="high"), "rules.final.value"),
        (lambda m: m["graphs"].pop("prefix"), "must be there"),
        (lambda m: m["rules"]["final"]["scores"].update(base64="AAAA"), "scores"),
        (lambda m: m["rules"]["final"]["scores"].update(shape=[-1, -399]), "rules.final.scores.shape"),
        (lambda m: m["rules"]["final"].update(n=398), "scores are not n numbers"),
        (lambda m: m["rules"]["final"].update(rank=1000), "scores are not n numbers"),
        (lambda m: m["rules"]["final"].update(value=1e39), "a threshold is above invalid_score"),
        (lambda m: m.update(invalid_score=0.0), r"invalid_score must be 3\.0000000054977558e"),
        (lambda m: m.update(sensitive=True), "sensitive must say"),
        (lambda m: m["graphs"].update(extra=m["graphs"]["signal"]), "graph"),
        (lambda m: m["graphs"]["signal"]["outputs"].pop("valid"), "other edges"),
        (lambda m: m["graphs"]["signal"].update(file="prefix.onnx"), "files and graphs differ"),
        (lambda m: m["golden"]["signal"]["inputs"].clear(), "golden inputs of graph signal do not fit"),
        (lambda m: m["golden"]["prefix"]["inputs"].pop("length"), "golden inputs of graph prefix do not fit"),
        (lambda m: rename(m["golden"]["signal"]["inputs"], "signals"), "golden inputs of graph signal do not fit"),
        (lambda m: rename(m["golden"], "signal"), "every graph needs golden vectors"),
        (lambda m: rename(m["graphs"], "signal"), "graph 'other' is unknown; allowed: signal"),
        (lambda m: m["golden"]["signal"].update(valid=m["golden"]["prefix"]["valid"]), "one number per row"),
        (lambda m: m["golden"]["signal"].update(tolerance=packed([np.inf] * 13)), "a tolerance is no number"),
        (lambda m: m["golden"]["signal"].update(valid=packed([True] * 13)), "all valid"),
        (lambda m: m["signal"].update(high=-1.0), "signal.low is not below"),
        (lambda m: m["files"]["signal.onnx"].update(sha256="x" * 64), "files.signal.onnx.sha256"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused_in_one_line(folder, change, message):
    with pytest.raises(BundleError, match=message) as caught:
        Bundle.read(rewritten(folder, change))
    assert "\n" not in str(caught.value)


def test_a_runtime_that_computes_something_else_never_scores(folder):
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

    with pytest.raises(BundleError, match="graph signal has another shape, other edges"):
        Scorer.open(rewritten(folder, rename))


def test_a_key_that_is_there_twice_is_refused(folder):
    path = folder / "manifest.json"
    text = path.read_text().replace('\n "eps"', '\n "tau": 1.0,\n "eps"', 1)
    digest = json.loads(text)["digest"]
    blank = text.replace(digest, NO_DIGEST)
    path.write_text(blank.replace(NO_DIGEST, sha256(blank.encode()), 1))
    with pytest.raises(BundleError, match="a key is there twice"):
        Bundle.read(folder)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"format": NaN}', b"\xff", b"null", b"9" * 10_000, b""])
def test_what_is_no_manifest_is_refused_in_one_line(folder, content):
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json") as caught:
        Bundle.read(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("full", [False, True])
def test_the_same_guard_gives_the_same_bytes(tmp_path, anchors, make_signals, full):
    exporter = OnnxExporter(OnnxExporter.Config(full=full))
    folds = make_signals(50, 1), make_signals(50, 2), make_signals(99, 3)
    first, second = (
        fit_guard(ToyDetector(), "toy", *folds, anchors=anchors, exporter=exporter, alpha=0.05, target=tmp_path / name)
        for name in "ab"
    )
    assert first.files == second.files
    assert (first.path / "manifest.json").read_bytes() == (second.path / "manifest.json").read_bytes()
    assert first.manifest.sensitive is full


def test_the_anchors_stay_at_home_unless_asked_for(fitted, anchors):
    assert not fitted.manifest.sensitive
    row = anchors.harmless[0, 0].tobytes()
    assert not any(row in content for content in fitted.files.values())
    with pytest.raises(BundleError, match="no graph 'full'"):
        fitted.graph("full")


def test_every_graph_says_what_it_belongs_to(fitted, anchors):
    for name in ("signal", "prefix"):
        facts = {x.key: x.value for x in onnx.load_from_string(fitted.graph(name)).metadata_props}
        assert facts["kind"] == name
        assert facts["anchors_sha256"] == anchors.digest
        assert float(facts["threshold"]) == fitted.manifest.rules["final"].value


def test_arrays_survive_as_text_with_nan_and_infinity():
    array = np.array([[np.nan, np.inf, -0.0]], np.float32)
    packed = PackedArray.pack(array)
    assert PackedArray.model_validate_json(packed.model_dump_json()).unpack().tobytes() == array.tobytes()
    assert PackedArray.pack(np.array([True, False])).unpack().tolist() == [True, False]
