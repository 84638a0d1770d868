import json
import os

import numpy as np
import onnx
import pytest
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_toy.detector import ToyDetector

from sri_sdk import bundle as bundle_module
from sri_sdk.bundle import Bundle
from sri_sdk.errors import BundleError
from sri_sdk.files import sha256
from sri_sdk.manifest import NO_DIGEST, PackedArray
from sri_sdk.scoring.build import fit_guard
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


def test_too_many_bytes_are_refused_before_they_are_read(folder, monkeypatch):
    monkeypatch.setattr(bundle_module, "LARGEST_BUNDLE", 1000)
    with pytest.raises(BundleError, match="allowed are 1000"):
        Bundle.read(folder)


def test_a_missing_folder_and_a_folder_without_manifest_say_what_to_do(tmp_path):
    with pytest.raises(BundleError, match="not a bundle folder"):
        Bundle.read(tmp_path / "nothing")
    with pytest.raises(BundleError, match=r"manifest\.json is missing"):
        Bundle.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=2), "format 2, this SDK reads 1"),
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m["signal"].update(cells=31), "has another shape"),
        (lambda m: m["rules"].pop("online"), "rules must be final and online"),
        (lambda m: m["rules"]["final"].update(value="high"), "rules.final.value"),
        (lambda m: m["graphs"].pop("prefix"), "must be there"),
        (lambda m: m["rules"]["final"]["scores"].update(base64="AAAA"), "scores"),
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

    with pytest.raises(BundleError, match="the manifest promises"):
        Scorer.open(rewritten(folder, rename))


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
