"""The readers in C, Rust, Go and Java: how each is built and called. Tests and the comparison share this."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

RUNTIMES = Path(__file__).parents[2] / "exporters/onnx/runtimes"
WARNINGS = "-std=c11 -Wall -Wextra -Werror -pedantic -Wconversion -Wshadow".split()
SANITIZERS = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all".split()


class Absent(Exception):
    """A reader cannot be built here; the message says what is missing."""


@dataclass(frozen=True)
class Program:
    """An example program: they all take the same arguments."""

    language: str
    command: tuple[str, ...]

    def run(self, *arguments: object, text: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs it; a crash, or a report of a sanitizer, fails the test."""
        done = subprocess.run(
            [*self.command, *map(str, arguments)], input=text, capture_output=True, text=True, timeout=280, **options
        )
        assert done.returncode in (0, 1, 2), done.stderr[-4000:]
        return done

    def refusal(self, *arguments: object, **options: Any) -> str:
        """The reason of a call that must be refused."""
        done = self.run(*arguments, **options)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
        return done.stderr.strip()

    def check_many(self, variants: Sequence[str]) -> list[tuple[str, str]]:
        """(ok or refused, digest or reason) of each variant, all opened by one process."""
        done = self.run("--check-many", text="".join(f"{line}\n" for line in variants))
        answers = [tuple(line.split("\t", 1)) for line in done.stdout.splitlines()]
        assert len(answers) == len(variants), done.stderr[-4000:]
        return [(answer, reason) for answer, reason in answers]

    def score_many(self, calls: Sequence[Sequence[object]]) -> list[tuple[int, str, list[dict[str, Any]]]]:
        """(exit code, reason, verdicts) of each call, all made by one process where the program can do that."""
        if self.language == "java":
            return [_answer(self.run(*call)) for call in calls]
        done = self.run("--score-many", text="".join("\t".join(map(str, call)) + "\n" for call in calls))
        answers, verdicts = [], []
        for line in done.stdout.split("\n")[:-1]:
            if line.startswith("done\t"):
                code, _, reason = line.removeprefix("done\t").partition("\t")
                answers.append((int(code), reason, verdicts))
                verdicts = []
            else:
                verdicts.append(json.loads(line))
        assert len(answers) == len(calls), done.stderr[-4000:]
        return answers


def _answer(done: subprocess.CompletedProcess[str]) -> tuple[int, str, list[dict[str, Any]]]:
    return done.returncode, done.stderr.strip(), [json.loads(line) for line in done.stdout.split("\n")[:-1]]


def build(language: str, folder: Path) -> Program:
    """The program of a language, built in `folder` unless it is there already.

    Raises:
        Absent: its compiler, or what it links, is not installed.
    """
    needs, compile_it, command = BUILDERS[language]
    for names in needs:
        compiler(*names)
    if language == "java":
        java_jar()
    linked = library(folder)
    with once(folder, language) as out:
        if out:
            compile_it(linked, out)
    return Program(language, tuple(command(folder / language)))


def java_jar() -> str:
    """The jar of onnxruntime for Java."""
    if "SRI_ORT_JAR" not in os.environ:
        raise Absent("SRI_ORT_JAR does not name a jar of onnxruntime for Java, and pip has none")
    return os.environ["SRI_ORT_JAR"]


def library(folder: Path) -> Path:
    """A folder with libonnxruntime as linkers and loaders look for it; the wheel has the file under another name."""
    found = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    if not found:
        raise Absent("this onnxruntime has no C library")
    with once(folder, "library") as out:
        if out:
            for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
                (out / name).symlink_to(found[0])
    return folder / "library"


@contextmanager
def once(folder: Path, name: str) -> Iterator[Path | None]:
    """The folder `name` to fill, or None if that was done: by one worker, while the others wait."""
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / f"{name}.done"
        if done.exists():
            yield None
            return
        out = folder / name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        yield out
        done.touch()


def compiler(*names: str) -> str:
    """The first of these that is installed."""
    for name in names:
        if found := shutil.which(name):
            return found
    raise Absent(f"no {' or '.join(names)} on PATH")


def call(*command: object, cwd: Path, **env: object) -> None:
    """Runs a build; what it says is the message if it fails."""
    extended = os.environ | {key: str(value) for key, value in env.items()}
    done = subprocess.run([str(x) for x in command], cwd=cwd, env=extended, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def compile_c(linked: Path, out: Path, *sources: object, flags: Sequence[str]) -> None:
    """The C library with some sources, into the program `out`; every warning is an error."""
    link = f"-L{linked}", "-lonnxruntime", "-lm", "-lpthread", f"-Wl,-rpath,{linked}"
    folder = RUNTIMES / "c"
    call(compiler(*C), *WARNINGS, *flags, "-I", folder, "sri_guard.c", *sources, "-o", out, *link, cwd=folder)


def _c(linked: Path, out: Path) -> None:
    compile_c(linked, out / "sri_score", "example/sri_score.c", flags=["-O2"])


def _c_sanitized(linked: Path, out: Path) -> None:
    compile_c(linked, out / "sri_score", "example/sri_score.c", flags=SANITIZERS)


def _rust(linked: Path, out: Path) -> None:
    env = {"ORT_LIB_DIR": linked, "CARGO_TARGET_DIR": out}
    call(compiler("cargo"), "build", "--offline", "--locked", cwd=RUNTIMES / "rust", **env)


def _go(linked: Path, out: Path) -> None:
    command = compiler("go"), "build", "-buildvcs=false", "-o", out / "sri_score", "./cmd/sri_score"
    call(*command, cwd=RUNTIMES / "go", CGO_LDFLAGS=f"-L{linked} -Wl,-rpath,{linked}")


def _java(_: Path, out: Path) -> None:
    sources = shutil.copytree(RUNTIMES / "java/src/main/java", out / "java")
    if floor := os.environ.get("SRI_ORT_JAR_FLOOR"):  # The jar at hand may be too old to be allowed elsewhere.
        graph = sources / "sri/guard/Graph.java"
        graph.write_text(graph.read_text().replace("OLDEST = {1, 27}", f"OLDEST = {{{floor.replace('.', ', ')}}}"))
    files = sorted(sources.rglob("*.java"))
    jar = os.environ["SRI_ORT_JAR"]
    call(compiler("javac"), "-Xlint:all", "-Werror", "-cp", jar, "-d", out / "classes", *files, cwd=out)


def _java_command(out: Path) -> list[str]:
    return ["java", "-Xmx512m", "-cp", f"{out / 'classes'}:{os.environ['SRI_ORT_JAR']}", "sri.guard.SriScore"]


C = ("gcc", "clang", "cc")
BUILDERS: dict[str, tuple[list[Sequence[str]], Callable[[Path, Path], None], Callable[[Path], Sequence[str]]]] = {
    "c": ([C], _c, lambda out: [str(out / "sri_score")]),
    "c-sanitized": ([C], _c_sanitized, lambda out: [str(out / "sri_score")]),
    "rust": ([["cargo"], C], _rust, lambda out: [str(out / "debug/sri_score")]),
    "go": ([["go"], C], _go, lambda out: [str(out / "sri_score")]),
    "java": ([["javac"], ["java"]], _java, _java_command),
}
"""Language -> (what must be installed, how to build it in a folder, how to call what was built there)."""
