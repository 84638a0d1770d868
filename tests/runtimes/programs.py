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
        """(exit code, reason, verdicts) of each call, all made by one process."""
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


@dataclass(frozen=True)
class Resident(Program):
    """A program that is slow to start: one process answers all calls that need no surroundings of their own."""

    process: subprocess.Popen[str]

    def run(self, *arguments: object, text: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
        words = [str(argument) for argument in arguments]
        if text or options or words[:1] in (["--check-many"], ["--score-many"]):
            return super().run(*words, text=text, **options)
        assert self.process.stdin and self.process.stdout and not any(set("\t\n") & set(word) for word in words)
        self.process.stdin.write("\t".join(words) + "\n")
        self.process.stdin.flush()
        lines: list[str] = []
        while not (line := self.process.stdout.readline()).startswith("done\t"):
            assert line, f"{self.language} ended while it was asked {words}: exit code {self.process.wait()}"
            lines.append(line)
        code, _, reason = line.rstrip("\n").removeprefix("done\t").partition("\t")
        # Called wrongly, a process of its own would say how it is called.
        said = "" if code == "0" else f"{reason}\n"
        return subprocess.CompletedProcess(words, int(code), "".join(lines), said)


@contextmanager
def resident(program: Program) -> Iterator[Resident]:
    """The same program, running."""
    command = [*program.command, "--score-many"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Resident(program.language, program.command, process)


def build(language: str, folder: Path) -> Program:
    """The program of a language, built in `folder` unless it is there already.

    Raises:
        Absent: its compiler, or what it links, is not installed.
    """
    needs, compile_it, command = BUILDERS[language]
    for names in needs:
        compiler(*names)
    if language == "java":
        jna()
    linked = library(folder)
    with once(folder, language) as out:
        if out:
            compile_it(linked, out)
    return Program(language, tuple(command(folder / language)))


def jna() -> Path:
    """The jar through which Java calls C: SRI_JNA_JAR, or where Debian has it."""
    jar = Path(os.environ.get("SRI_JNA_JAR", "/usr/share/java/jna.jar"))
    if not jar.exists():
        raise Absent(f"no JNA for Java at {jar}; install libjna-java, or name its jar in SRI_JNA_JAR")
    return jar


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


def compile_c(folder: Path, out: Path, *sources: object, flags: Sequence[str]) -> None:
    """The C library with some sources, into the program `out`; every warning is an error.

    The library itself is compiled in `folder`, once for all programs with the same flags.
    """
    linked, name = library(folder), "-".join(["c-library", *(word.lstrip("-").replace("=", "-") for word in flags)])
    with once(folder, name) as made:
        if made:
            call(compiler(*C), *WARNINGS, *flags, "-c", "sri_guard.c", "-o", made / "sri_guard.o", cwd=RUNTIMES / "c")
    link = f"-L{linked}", "-lonnxruntime", "-lm", "-lpthread", f"-Wl,-rpath,{linked}"
    compile_c_alone(out, *sources, folder / name / "sri_guard.o", *link, flags=flags)


def compile_c_alone(out: Path, *sources: object, flags: Sequence[str]) -> None:
    """Sources that need the headers of the C library only, into the program `out`."""
    call(compiler(*C), *WARNINGS, *flags, "-I", RUNTIMES / "c", *sources, "-o", out, cwd=RUNTIMES / "c")


def shared_library(folder: Path) -> Path:
    """The C library for languages that load libraries while they run."""
    linked = library(folder)
    with once(folder, "shared-library") as out:
        if out:
            call("make", "shared", f"ORT={linked}", f"OUT={out}", "CC=gcc", cwd=RUNTIMES / "c")
    return folder / "shared-library/libsri_guard.so"


def _c(linked: Path, out: Path) -> None:
    compile_c(linked.parent, out / "sri_score", "example/sri_score.c", flags=["-O2"])


def _c_sanitized(linked: Path, out: Path) -> None:
    compile_c(linked.parent, out / "sri_score", "example/sri_score.c", flags=SANITIZERS)


def _rust(linked: Path, out: Path) -> None:
    env = {"ORT_LIB_DIR": linked, "CARGO_TARGET_DIR": out}
    call(compiler("cargo"), "build", "--offline", "--locked", cwd=RUNTIMES / "rust", **env)


def _go(linked: Path, out: Path) -> None:
    command = compiler("go"), "build", "-buildvcs=false", "-o", out / "sri_score", "./cmd/sri_score"
    call(*command, cwd=RUNTIMES / "go", CGO_LDFLAGS=f"-L{linked} -Wl,-rpath,{linked}")


def _java(_: Path, out: Path) -> None:
    shared_library(out.parent)
    sources = sorted((RUNTIMES / "java/src/main/java").rglob("*.java"))
    call(compiler("javac"), "-Xlint:all", "-Werror", "-cp", jna(), "-d", out / "classes", *sources, cwd=out)


def java_command(out: Path) -> list[str]:
    """What is in front of the name of a class."""
    # Most of these processes are short, and end before optimising compilers were worth their time.
    quick = "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m"
    return ["java", *quick, f"-Djna.library.path={out.parent / 'shared-library'}", "-cp", f"{out / 'classes'}:{jna()}"]


C = ("gcc", "clang", "cc")
BUILDERS: dict[str, tuple[list[Sequence[str]], Callable[[Path, Path], None], Callable[[Path], Sequence[str]]]] = {
    "c": ([C], _c, lambda out: [str(out / "sri_score")]),
    "c-sanitized": ([C], _c_sanitized, lambda out: [str(out / "sri_score")]),
    "rust": ([["cargo"], C], _rust, lambda out: [str(out / "debug/sri_score")]),
    "go": ([["go"], C], _go, lambda out: [str(out / "sri_score")]),
    "java": ([["javac"], ["java"], ["make"], ["gcc"]], _java, lambda out: [*java_command(out), "sri.guard.SriScore"]),
}
"""Language -> (what must be installed, how to build it in a folder, how to call what was built there)."""
