"""The steps of every reader's README, as they stand: from an empty directory, on sources without build products."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sri_sdk.bundle.packed_array import PackedArray
from tests.runtimes import packages, programs
from tests.runtimes.programs import RUNTIMES, Absent

pytestmark = pytest.mark.timeout(900)

BUNDLE = RUNTIMES / "vectors/autoencoder/bundle"
READERS = ["node", "web", "c", "rust", "go", "java"]
BUILT = shutil.ignore_patterns("node_modules", ".install-lock", "dist", "build", "target")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What stands as NAME=/path/to/... in a README, and is somewhere else on every machine."""
    folder = tmp_path_factory.mktemp("places of a user")  # Not every path is one word.
    shutil.copytree(RUNTIMES, folder / "sdk/exporters/onnx/runtimes", ignore=BUILT)
    cases = json.loads((BUNDLE.parent / "cases.json").read_text())
    values, lengths = (
        PackedArray.model_validate_json(json.dumps(cases[name])).unpack().tolist() for name in ("signals", "lengths")
    )
    fingerprint = json.loads((BUNDLE / "manifest.json").read_text())["fingerprint"]
    rows = [{"id": n, "sigma": v, "length": t} for n, v, t in zip(cases["ids"], values, lengths, strict=True)]
    text = "\n".join(json.dumps(row) for row in [{"sri_signals": 1, "fingerprint": fingerprint}, *rows])
    (folder / "signals.jsonl").write_text(text)
    return {"SDK": folder / "sdk", "GUARD": BUNDLE, "SIGNALS": folder / "signals.jsonl"}


@pytest.fixture
def ready(tmp_path_factory):
    """ready("c"): what the steps need beside a compiler; skips where it is not here."""

    def check(name):
        try:
            if name in ("node", "web"):
                packages.ready(name)  # Whether npm can install at all.
                return {}
            for names in programs.BUILDERS[name][0]:
                programs.compiler(*names)
            if name in ("rust", "go", "java"):
                library = programs.library(tmp_path_factory.mktemp("onnxruntime"))
                jna = {"JNA": programs.jna()} if name == "java" else {}
                return {"ORT_LIB_DIR": library, "LIB": library, **jna}
            programs.compiler("make")
        except Absent as err:
            pytest.skip(str(err))
        return {}

    return check


def steps_of(name, places):
    """The first block of commands in a README, with the places of this machine."""
    text = (RUNTIMES / name / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[:1]
    named = re.compile(r"^((?:export )?([A-Z_]+)=)/path/to/\S+", re.MULTILINE)
    steps = named.sub(lambda found: f"{found[1]}'{places[found[2]]}'", block)
    assert "/path/" not in steps
    return steps


@pytest.mark.parametrize("name", READERS)
def test_the_steps_of_a_readme_lead_from_an_empty_directory_to_verdicts(name, places, ready, tmp_path):
    steps = steps_of(name, places | ready(name))
    env = {key: value for key, value in os.environ.items() if not key.startswith(("ORT_", "CGO_", "CARGO_TARGET"))}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"  # `python3` is the one with onnxruntime.
    done = subprocess.run(["bash", "-euc", steps], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    if name == "web":
        assert (places["SDK"] / "exporters/onnx/runtimes/web/dist/index.html").exists()
        return
    expected = [v["status"] for v in json.loads((BUNDLE.parent / "cases.json").read_text())["online"]]
    found = [json.loads(line)["status"] for line in done.stdout.splitlines() if line.startswith('{"')]
    times = 2 if name == "node" else 1  # Native, and WebAssembly.
    assert found == expected * times, done.stdout


def test_a_linked_node_package_says_why_it_does_not_find_onnxruntime(places, ready, tmp_path):
    ready("node")
    package = places["SDK"] / "exporters/onnx/runtimes/node"
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", str(package), "onnxruntime-node"]
    subprocess.run(["npm", "init", "--yes"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(install, cwd=tmp_path, check=True, capture_output=True)
    command = ["npx", "sri-score", str(BUNDLE), str(places["SIGNALS"])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "sri-guard is only linked: install the file that `npm pack` writes" in done.stderr
    passed = """
        import * as ort from "onnxruntime-node";
        import { loadGuard } from "sri-guard";
        console.log((await loadGuard(process.argv[1], { backend: ort })).manifest.detector.name);
    """
    command = ["node", "--input-type=module", "--eval", passed, "--", str(BUNDLE)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "autoencoder\n", done.stderr


@pytest.mark.parametrize("name", READERS)
def test_every_reader_that_has_a_folder_has_steps(name, places):
    elsewhere = {"JNA": Path("jna.jar"), "ORT_LIB_DIR": Path("lib"), "LIB": Path("lib")}
    assert steps_of(name, places | elsewhere).startswith("SDK='")
    folders = {path.parent.name for path in RUNTIMES.glob("*/README.md")}
    assert folders - {"vectors"} == set(READERS)
