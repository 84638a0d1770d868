"""Bundles in folders: read whole, or refused; and the same guard gives the same bytes."""

import os

import numpy as np
import onnx
import pytest
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_toy.detector import ToyDetector

from sri_sdk.bundle import files as bundle_files
from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.packed_array import PackedArray
from sri_sdk.errors import BundleError
from sri_sdk.files import sha256
from sri_sdk.fitting.build import fit_guard


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
    with pytest.raises(BundleError, match="allowed: up to 1000"):
        Bundle.read(folder)


@pytest.mark.parametrize("name", [".DS_Store", "-rf", "ünïcode", "with space", "back\\slash", "x" * 101])
def test_a_name_that_is_more_than_a_name_is_refused(folder, name):
    (folder / name).write_text("x")
    with pytest.raises(BundleError, match="allowed: letters, digits"):
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
