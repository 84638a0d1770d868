"""Files that mean harm, as whole bundles with hashes that fit: what happens between opening and the first verdict."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.errors import BundleError
from sri_sdk.scoring import runtime
from sri_sdk.scoring.runtime import load
from sri_sdk.scoring.scorer import Scorer

from . import crafted, fuzz

MUTANTS = int(os.environ.get("SRI_FUZZ_MUTANTS", "300"))
"""`make fuzz` runs a hundred thousand."""

PROGRAM = """
import resource, signal, sys
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
signal.alarm(30)
from sri_sdk.errors import BundleError
from sri_sdk.scoring.scorer import Scorer
try:
    Scorer.open(sys.argv[1])
except BundleError as err:
    print(err)
print(next(int(x.split()[1]) // 1024 for x in open("/proc/self/status") if x.startswith("VmHWM")))
"""


@pytest.fixture
def plant(guard_copy):
    """plant(proto): a bundle whose graph `signal` was replaced, with hashes that fit."""

    def call(proto):
        folder = guard_copy / "bundle"
        members = {**Bundle.read(folder).members, "signal.onnx": crafted.dressed(proto, 32).SerializeToString()}
        for name, content in fuzz.hashed(members, json.loads(members["manifest.json"])).items():
            (folder / name).write_bytes(content)
        return folder

    return call


HOSTILE = {
    "memory bomb": (crafted.memory_bomb, "'ConstantOfShape' is not allowed"),
    "memory bomb of allowed operators": (crafted.outer_bomb, "elements per row"),
    "endless loop": (crafted.endless_loop, "'Loop' is not allowed"),
    "tree as deep as a stack": (lambda: crafted.deep_forest(20_000), "deeper than 64"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_graph_that_would_take_all_memory_or_time_takes_none(plant, name):
    make, reason = HOSTILE[name]
    command = [sys.executable, "-c", PROGRAM, str(plant(make()))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    problem, megabytes = done.stdout.splitlines()
    assert reason in problem
    assert int(megabytes) < 200


@pytest.mark.parametrize("how", ["beside", "outside", "absolute", "symlink", "hard link", "working directory"])
def test_data_in_other_files_is_never_read(plant, tmp_path, monkeypatch, how):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"\x00\x00\x80\x3f" * crafted.CELLS)
    location = {"outside": "../../secret.bin", "absolute": secret}.get(how, "weights.bin")
    folder = plant(crafted.external(location))
    monkeypatch.chdir(tmp_path)
    place = tmp_path if how == "working directory" else folder
    if how == "symlink":
        (place / "weights.bin").symlink_to(secret)
    elif how == "hard link":
        (place / "weights.bin").hardlink_to(secret)
    elif location == "weights.bin":
        (place / "weights.bin").write_bytes(secret.read_bytes())
    with pytest.raises(BundleError, match=r"weights\.bin is not|a reference to another file"):
        Scorer.open(folder)


@pytest.mark.parametrize("place", ["working directory", "outside", "absolute"])
def test_onnxruntime_itself_would_not_read_it_either(tmp_path, monkeypatch, place):
    """The second wall, should the inspector ever have a hole."""
    (tmp_path / "work").mkdir()
    secret = tmp_path / ("work/weights.bin" if place == "working directory" else "weights.bin")
    secret.write_bytes(b"\x00\x00\x80\x3f" * crafted.CELLS)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(runtime, "inspect", lambda *_: None)
    location = {"working directory": "weights.bin", "outside": "../weights.bin", "absolute": secret}[place]
    with pytest.raises(BundleError, match="onnxruntime cannot load it"):
        load(crafted.external(location).SerializeToString(), "some.onnx")


def test_an_unknown_operator_is_refused_by_name(plant):
    with pytest.raises(BundleError, match=r"signal\.onnx: .* operator 'Surprise' is not allowed"):
        Scorer.open(plant(crafted.model([crafted.node("Surprise", "signals", "score")])))


def test_a_bundle_cannot_choose_a_longer_list_without_saying_so(plant):
    folder = plant(crafted.memory_bomb(8))
    members = Bundle.read(folder).members
    manifest = json.loads(members["manifest.json"])
    manifest["detector"]["tier"] = "anything"
    (folder / "manifest.json").write_bytes(fuzz.with_digest(manifest))
    with pytest.raises(BundleError, match=r"detector\.tier"):
        Scorer.open(folder)


# -- at random -------------------------------------------------------------------------------------------------


def test_mutated_bundles_are_refused_or_harmless():
    ends, findings = fuzz.run(MUTANTS, seed=1)
    assert not findings
    assert sum(ends.values()) == MUTANTS
    reached = {end.partition(": ")[2] for end in ends}
    assert reached >= {"refused by the reader", "refused by the inspector", "refused by the self-test", "accepted"}
    # Nothing whose hashes do not fit gets beyond the reader.
    unhashed = {end for end in ends if end.startswith(("zip", "member"))}
    assert unhashed == {f"{kind}: refused by the reader" for kind in ("zip", "member", "members")}


def test_a_crash_and_a_hang_are_findings(monkeypatch):
    def crashing(command, **_):
        progress = Path(command[-1])
        first = int(command[command.index("--first") + 1])
        if first <= 7:
            progress.write_bytes(b"%12d" % 7)
            return subprocess.CompletedProcess(command, -11, "", "Segmentation fault")
        return subprocess.CompletedProcess(command, 0, json.dumps({"x: accepted": 12}), "")

    monkeypatch.setattr(fuzz.subprocess, "run", crashing)
    ends, findings = fuzz.run(20, seed=0)
    assert findings == ["mutant 7 of seed 0: exit -11 Segmentation fault"]
    assert ends["x: accepted"] == 12


def test_every_changed_byte_is_refused():
    """A sample; `make fuzz` changes every byte."""
    assert not list(fuzz.flips(step=211))
