"""The Java API beyond its example, and a C library that is not the one it was written for."""

import subprocess

import pytest

from tests.runtimes import programs
from tests.runtimes.native.test_c_library import HERE, RUNTIMES

VECTORS = RUNTIMES / "vectors"


@pytest.fixture
def command(shared, build):
    build("java")
    return programs.java_command(shared / "java")


def test_threads_streaming_memory_parts_and_closed_guards(command, shared, tmp_path):
    classes = f"{shared / 'java/classes'}:{programs.jna()}"
    programs.call(
        "javac", "-Xlint:all", "-Werror", "-cp", classes, "-d", tmp_path, HERE / "LibraryCheck.java", cwd=HERE
    )
    words = [*command[:-1], f"{tmp_path}:{classes}", "sri.guard.LibraryCheck"]
    words += [str(VECTORS / name / "bundle") for name in ("autoencoder", "groups")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def refusal(command, folder):
    words = [f"-Djna.library.path={folder}" if word.startswith("-Djna.") else word for word in command]
    words += ["sri.guard.SriScore", "--check", str(VECTORS / "autoencoder/bundle")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
    return done.stderr


def test_a_library_that_is_not_there_or_not_whole_is_refused_with_what_to_do(command, tmp_path):
    missing = refusal(command, tmp_path)
    assert "libsri_guard.so: cannot open" in missing and "`make shared`" in missing and "jna.library.path" in missing
    (tmp_path / "library.c").write_text("void sri_struct_sizes(void) {}")
    programs.call("gcc", "-shared", "-o", "libsri_guard.so", "library.c", cwd=tmp_path)
    assert "sri_" in refusal(command, tmp_path)


def test_a_library_with_other_structs_is_refused(command, shared, tmp_path):
    (tmp_path / "library.c").write_text(
        '#define sri_struct_sizes real_sizes\n#include "sri_guard.c"\n#undef sri_struct_sizes\n'
        "void sri_struct_sizes(size_t *s) { real_sizes(s), s[2] += 8; }\n"
    )
    link = f"-L{shared / 'library'}", "-lonnxruntime", "-lm", f"-Wl,-rpath,{shared / 'library'}"
    build = "gcc", "-fPIC", "-shared", "-I", RUNTIMES / "c", "library.c", "-o", "libsri_guard.so", *link
    programs.call(*build, cwd=tmp_path)
    assert "Build both from the same release" in refusal(command, tmp_path)
