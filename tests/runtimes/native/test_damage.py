"""What is damaged, tampered with or not for this reader is refused with file and reason, and nothing crashes."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.packed_array import PackedArray
from sri_sdk.errors import BundleError
from sri_sdk.scoring.scorer import Scorer
from tests.runtimes.sealing import sealed, with_odd_values

VECTORS = Path(__file__).parents[3] / "exporters/onnx/runtimes/vectors"
PORTABLE = ["autoencoder", "isolation-forest", "mahalanobis"]
STEP = int(os.environ.get("SRI_STEP", "11"))
"""Every so many bytes of a graph are changed; `SRI_STEP=1` changes all of them."""

ODD = int(os.environ.get("SRI_ODD", "120"))
"""Manifests with a random value in a random place."""

SLOW = ("c-sanitized", "java")
"""These see a share of changed bytes and manifests. Java hands what it is given to the library that C tests in full."""


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(VECTORS / "autoencoder/bundle", tmp_path / "bundle"))


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


# -- damage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PORTABLE)
def test_the_bundles_of_the_vectors_open_under_their_digest(program, name):
    folder = VECTORS / name / "bundle"
    digest = Bundle.read(folder).digest
    assert program.run("--check", folder, "--digest", digest.upper()).stdout == f"ok\t{digest}\n"
    assert program.check_many([str(folder)] * 3) == [("ok", digest)] * 3
    assert "not the bundle with digest" in program.refusal("--check", folder, "--digest", "0" * 64)
    assert "not a SHA-256" in program.refusal("--check", folder, "--digest", digest[1:])


def test_a_detector_that_only_python_may_load_is_refused_by_that_name(program):
    reason = program.refusal("--check", VECTORS / "python-only/bundle")
    assert "python-only/bundle/manifest.json: detector.tier" in reason and "Python only" in reason


def test_damage_of_the_vectors_is_refused(program):
    damage = json.loads((VECTORS / "damage.json").read_text())
    variants = [f"{VECTORS / d['bundle'] / 'bundle'}\t{d['file']}\t{d['offset']}\t{d['xor']}" for d in damage]
    for change, (answer, reason) in zip(damage, program.check_many(variants), strict=True):
        assert answer == "refused" and change["file"] in reason, (change, reason)


def test_every_changed_byte_of_a_manifest_and_a_sample_of_graphs_is_refused(program):
    folder = VECTORS / "autoencoder/bundle"
    variants = []
    for name, step in [("manifest.json", 1), ("signal.onnx", STEP), ("prefix.onnx", STEP)]:
        size = (folder / name).stat().st_size
        variants += [f"{folder}\t{name}\t{at}\t{1 << at % 8}" for at in range(0, size, step)]
    if program.language in SLOW:
        variants = variants[::7]
    for variant, (answer, reason) in zip(variants, program.check_many(variants), strict=True):
        assert answer == "refused" and variant.split("\t")[1] in reason, (variant, reason)


def test_changed_graphs_whose_hashes_fit_never_crash_and_never_pass_for_another(program, tmp_path):
    rng = np.random.default_rng(1)
    variants = []
    for number in range(40 if program.language in SLOW else 100):
        folder = Path(shutil.copytree(VECTORS / "autoencoder/bundle", tmp_path / str(number)))
        path = folder / ("signal.onnx", "prefix.onnx")[number % 2]
        content = bytearray(path.read_bytes())
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        variants.append(sealed(folder, manifest_of(folder)))
    answers = program.check_many([str(path) for path in variants])
    assert sum(answer == "refused" for answer, _ in answers) > len(answers) / 4
    assert all(".onnx" in reason or "graph " in reason for answer, reason in answers if answer == "refused")


# -- what is in the folder ----------------------------------------------------------------------------------------


def test_only_the_listed_files_and_signatures_may_be_there(program, folder):
    (folder / "model.sig").write_text("not read here")
    assert program.run("--check", folder).returncode == 0
    (folder / "extra.txt").write_text("x")
    assert "extra.txt is not listed" in program.refusal("--check", folder)
    (folder / "extra.txt").unlink()
    (folder / ".hidden").write_text("x")
    assert "a file called .hidden" in program.refusal("--check", folder)
    (folder / ".hidden").unlink()
    (folder / "prefix.onnx").unlink()
    assert "prefix.onnx is missing" in program.refusal("--check", folder)


def test_links_folders_and_pipes_are_refused_unread(program, folder, tmp_path):
    (folder / "prefix.onnx").rename(tmp_path / "elsewhere")
    (folder / "prefix.onnx").symlink_to(tmp_path / "elsewhere")
    assert "prefix.onnx is not a plain file" in program.refusal("--check", folder)
    (folder / "prefix.onnx").unlink()
    os.mkfifo(folder / "prefix.onnx")
    assert "prefix.onnx is not a plain file" in program.refusal("--check", folder)
    (folder / "prefix.onnx").unlink()
    (folder / "prefix.onnx").mkdir()
    assert "prefix.onnx is not a plain file" in program.refusal("--check", folder)


def test_a_wrong_folder_says_what_to_do(program, folder, tmp_path):
    assert "not a bundle folder" in program.refusal("--check", tmp_path / "nothing")
    assert f"Its bundle is {tmp_path}/bundle" in program.refusal("--check", tmp_path)
    (folder / "manifest.json").unlink()
    assert "manifest.json is missing" in program.refusal("--check", folder)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(program, folder):
    with (folder / "manifest.json").open("r+b") as stream:
        stream.truncate(2**24 + 1)
    assert f"manifest.json has {2**24 + 1} bytes" in program.refusal("--check", folder)
    with (folder / "signal.onnx").open("r+b") as stream:
        stream.truncate(2**30 + 1)
    shutil.copy(VECTORS / "autoencoder/bundle/manifest.json", folder)
    assert f"signal.onnx has {2**30 + 1} bytes" in program.refusal("--check", folder)


# -- what the manifest says ---------------------------------------------------------------------------------------


def golden(manifest, **changes):
    entry = manifest["golden"]["signal"]
    for name, change in changes.items():
        values = PackedArray.model_validate_json(json.dumps(entry[name])).unpack().copy()
        change(values)
        entry[name] = json.loads(PackedArray.pack(values).model_dump_json())


def tampered(values):
    values[3] *= 1.01


TAMPERED = {
    "another format": (lambda m: m.update(format=3), "manifest format 3"),
    "an unknown key": (lambda m: m.update(surprise=1), "unknown keys"),
    "a missing key": (lambda m: m.pop("tau"), "tau"),
    "other cells": (lambda m: m["signal"].update(cells=15), "manifest.json"),
    "cells beyond reason": (lambda m: m["signal"].update(cells=2**52), "signal.cells"),
    "half a cell": (lambda m: m["signal"].update(cells=16.5), "signal.cells"),
    "no cells": (lambda m: m["signal"].update(cells=0), "signal"),
    "an empty range": (lambda m: m["signal"].update(low=2), "signal"),
    "another domain": (lambda m: m["signal"].update(domain="phase"), "domain"),
    "one rule only": (lambda m: m["rules"].pop("online"), "online"),
    "a threshold in words": (lambda m: m["rules"]["final"].update(value="high"), "rules.final.value"),
    "a threshold nothing exceeds": (lambda m: m["rules"]["final"].update(value=3.1e38), "rules.final"),
    "more scores than there are": (lambda m: m["rules"]["final"].update(n=98), "rules.final"),
    "a rank beyond the scores": (lambda m: m["rules"]["final"].update(rank=1000), "rules.final"),
    "an alpha that is no share": (lambda m: m["rules"]["final"].update(alpha=1), "rules.final"),
    "scores that are not base64": (lambda m: m["rules"]["final"]["scores"].update(base64="?" * 528), "rules.final"),
    "scores of another type": (lambda m: m["rules"]["final"]["scores"].update(dtype="int64"), "rules.final"),
    "no graph prefix": (lambda m: (m["graphs"].pop("prefix"), m["golden"].pop("prefix")), "manifest.json"),
    "an unknown graph": (lambda m: m["graphs"].update(more=m["graphs"]["signal"]), "manifest.json"),
    "a graph in another file": (lambda m: m["graphs"]["signal"].update(file="prefix.onnx"), "graph"),
    "other edges": (lambda m: m["graphs"]["signal"]["outputs"].pop("valid"), "graphs"),
    "a name that leads elsewhere": (lambda m: m["files"].update({"../x.onnx": m["files"]["signal.onnx"]}), "x.onnx"),
    "a secret that is not said to be one": (lambda m: m.update(sensitive=True), "sensitive"),
    "another invalid score": (lambda m: m.update(invalid_score=0), "invalid_score"),
    "golden rows that all are valid": (lambda m: golden(m, valid=lambda v: v.fill(True)), "golden.signal"),
    "a tolerance of infinity": (lambda m: golden(m, tolerance=lambda t: t.fill(np.inf)), "golden.signal"),
    "a golden score that is not so": (lambda m: golden(m, score=tampered), "graph signal scores golden row 3"),
    "no golden inputs": (lambda m: m["golden"]["signal"].update(inputs={}), "golden.signal"),
    "a grid without a budget": (lambda m: m.update(grid={"mapping": "step", "cells": 16}), "grid"),
}


@pytest.mark.parametrize("change", TAMPERED)
def test_a_manifest_that_makes_no_sense_is_refused_in_one_line(program, folder, change):
    apply, reason = TAMPERED[change]
    manifest = manifest_of(folder)
    apply(manifest)
    found = program.refusal("--check", sealed(folder, manifest))
    assert reason in found and str(folder) in found


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "{}", "[" * 100_000, '{"a":' * 100_000, '{"format": 1}', '{"format": 1, "digest": 1}',
        '{"format": 1, "digest": "%s"}' % ("0" * 64), '{"format": 01}', '{"format": NaN}', '{"a": "\\ud800"}',
        '{"format": 1, "format": 1, "digest": ""}', '{"a": "\xe9"}', '{"a": "' + "\0" + '"}', '{"a": 1e999999999}',
        "{" + ",".join(f'"{i:07}": 0' for i in range(300_000)) + "}", '"' + "\\u0041" * 100_000,
    ],
    ids=range(18),
)  # fmt: skip
def test_what_is_no_manifest_at_all_is_refused(program, folder, text):
    (folder / "manifest.json").write_text(text, encoding="latin-1")
    assert "manifest.json" in program.refusal("--check", folder)


def test_a_manifest_is_refused_or_read_as_python_refuses_or_reads_it(program, tmp_path):
    """Random values in random places, with a digest that fits: readers must agree on what is a bundle."""
    names = "autoencoder", "mahalanobis"  # The second has every kind of graph.
    folders = with_odd_values(names, ODD // 2 if program.language in SLOW else ODD, 3, tmp_path)
    assert_agrees_with_python(program, folders)


def assert_agrees_with_python(program, folders):
    for folder, (answer, reason) in zip(folders, program.check_many([str(x) for x in folders]), strict=True):
        try:
            Scorer.open(folder)
        except BundleError as err:
            assert answer == "refused", (folder, str(err), reason)
        else:
            assert answer == "ok", (folder, reason)


# -- what graphs do ----------------------------------------------------------------------------------------------


def with_graph(folder, model):
    (folder / "signal.onnx").write_bytes(model.SerializeToString())
    return sealed(folder, manifest_of(folder))


def graph_of(nodes, initializers=(), outputs=("score", "valid")):
    edges = [helper.make_tensor_value_info("signals", TensorProto.FLOAT, ["B", 16, 1])]
    kinds = {"score": TensorProto.FLOAT, "valid": TensorProto.BOOL}
    out = [helper.make_tensor_value_info(name, kinds[name], ["B"]) for name in outputs]
    graph = helper.make_graph(nodes, "signal", edges, out, list(initializers))
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def test_a_graph_cannot_read_other_files(program, folder, tmp_path):
    (tmp_path / "secret.bin").write_bytes(np.ones(1, np.float32).tobytes())
    outside = helper.make_tensor("outside", TensorProto.FLOAT, [1], [1.0])
    outside.ClearField("float_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="secret.bin")
    nodes = [
        helper.make_node("ReduceSum", ["signals"], ["all"], keepdims=0),
        helper.make_node("Mul", ["all", "outside"], ["score"]),
        helper.make_node("Greater", ["score", "outside"], ["valid"]),
    ]
    reason = program.refusal("--check", with_graph(folder, graph_of(nodes, [outside])), cwd=tmp_path)
    assert "signal.onnx" in reason and "golden" not in reason


def test_a_graph_that_returns_something_else_than_it_declares_is_refused(program, folder):
    axes = onnx.numpy_helper.from_array(np.array([0, 1, 2]), "axes")
    one = onnx.numpy_helper.from_array(np.array([1]), "one")
    nodes = [
        helper.make_node("ReduceSum", ["signals", "axes"], ["all"], keepdims=0),
        helper.make_node("Reshape", ["all", "one"], ["score"]),
        helper.make_node("Greater", ["score", "score"], ["valid"]),
    ]
    reason = program.refusal("--check", with_graph(folder, graph_of(nodes, [axes, one])))
    assert "signal.onnx" in reason


def test_a_graph_with_other_edges_than_promised_is_refused(program, folder):
    nodes = [helper.make_node("ReduceSum", ["signals"], ["score"], keepdims=0)]
    reason = program.refusal("--check", with_graph(folder, graph_of(nodes, outputs=["score"])))
    assert "not those the manifest promises" in reason


def test_a_model_may_not_set_options_of_the_session(program, folder):
    env = os.environ | {"ORT_LOAD_CONFIG_FROM_MODEL": "1"}
    assert "ORT_LOAD_CONFIG_FROM_MODEL" in program.refusal("--check", folder, env=env)
