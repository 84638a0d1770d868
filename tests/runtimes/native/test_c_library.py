"""The C library itself: its own copy of onnxruntime's API, and what a program may do with it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtimes import programs
from tests.runtimes.lying import lying_bundle
from tests.runtimes.native.test_parts import lines_of
from tests.vectors.test_part_vectors import NAMES, agree, cases_of

HERE = Path(__file__).parent
RUNTIMES = HERE.parents[2] / "exporters/onnx/runtimes"


def test_the_small_table_of_the_api_is_that_of_the_real_header(tmp_path):
    """SRI_ORT_INCLUDE: a folder with onnxruntime_c_api.h, which the wheel does not have."""
    places = [os.environ.get("SRI_ORT_INCLUDE", ""), "/usr/include/onnxruntime", "/usr/local/include/onnxruntime"]
    include = next((place for place in places if place and (Path(place) / "onnxruntime_c_api.h").exists()), None)
    if include is None or shutil.which("gcc") is None:
        pytest.skip("no gcc, or SRI_ORT_INCLUDE does not name a folder with onnxruntime_c_api.h")
    command = ["gcc", "-c", HERE / "ort_api_check.c", "-I", include, "-I", RUNTIMES / "c", "-o", tmp_path / "check.o"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_function_of_the_small_table_is_compared():
    used = re.findall(r"\(\*([A-Z]\w+)\)\(", (RUNTIMES / "c/src/ort_api.h").read_text())
    table = [name for name in used if name not in ("GetApi", "GetVersionString")]
    assert table == re.findall(r"^SAME\((\w+)\)", (HERE / "ort_api_check.c").read_text(), re.MULTILINE)


def test_threads_locales_short_buffers_streaming_lies_and_parts(compile_c, tmp_path):
    if shutil.which("localedef") is None:
        pytest.skip("no localedef on PATH")
    subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", tmp_path / "de_DE.UTF-8"], capture_output=True)
    if not (tmp_path / "de_DE.UTF-8").exists():
        pytest.skip("localedef cannot make a locale that writes a comma in numbers")
    compile_c(tmp_path / "check", HERE / "library_check.c")
    lying = lying_bundle(tmp_path / "lying")
    vectors = RUNTIMES / "vectors"
    command = [tmp_path / "check", vectors / "autoencoder/bundle", "de_DE.UTF-8", lying, vectors / "groups/bundle"]
    done = subprocess.run(command, env=os.environ | {"LOCPATH": str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_header_is_one_of_cpp_too(tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("no g++ on PATH")
    source = tmp_path / "check.cpp"
    source.write_text('#include "sri_guard.h"\nint main() { sri_verdict v{}; return static_cast<int>(v.part_count); }')
    flags = "-std=c++17 -Wall -Wextra -Werror -pedantic -fsyntax-only".split()
    command = ["g++", *flags, "-I", RUNTIMES / "c", source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def loaded(shared):
    """The library that other languages load while they run."""
    if shutil.which("make") is None or shutil.which("gcc") is None:
        pytest.skip("no make or gcc on PATH")
    return programs.shared_library(shared)


def test_the_shared_library_exports_only_what_its_header_declares(loaded):
    names = subprocess.run(["nm", "-D", "--defined-only", loaded], capture_output=True, text=True, check=True).stdout
    declared = re.findall(r"\b(sri_\w+)\(", (RUNTIMES / "c/sri_guard.h").read_text())
    # In comments, functions are named without their arguments.
    assert {line.split()[-1] for line in names.splitlines()} == set(declared)


@pytest.mark.parametrize("rule", ["final", "online", "request"])
@pytest.mark.parametrize("name", NAMES)
def test_a_language_that_loads_the_library_gets_the_verdicts(loaded, name, rule, tmp_path):
    bundle, path = RUNTIMES / "vectors" / name / "bundle", lines_of(name, tmp_path / "signals.jsonl")
    command = [sys.executable, HERE / "loaded_check.py", loaded, bundle, path, rule]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line, expected in zip(done.stdout.splitlines(), cases_of(name)[rule], strict=True):
        agree(json.loads(line), expected)
