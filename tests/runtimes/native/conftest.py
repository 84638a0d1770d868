"""The runtimes in C, Rust, Go and Java: each is built where its compiler is present, and all answer alike."""

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
import pytest
from numpy.typing import NDArray

RUNTIMES = Path(__file__).parents[3] / "exporters/onnx/runtimes"
WARNINGS = "-std=c11 -Wall -Wextra -Werror -pedantic -Wconversion -Wshadow".split()
SANITIZERS = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all".split()
LANGUAGES = ["c", "c-sanitized", "rust", "go", "java"]


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


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run have in common."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "native"
    folder.mkdir(exist_ok=True)
    return folder


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


@pytest.fixture(scope="session")
def library(shared: Path) -> Path:
    """A folder with libonnxruntime as linkers and loaders look for it; the wheel has the file under another name."""
    found = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    if not found:
        pytest.skip("this onnxruntime has no C library")
    with once(shared, "library") as folder:
        for name in ("libonnxruntime.so", "libonnxruntime.so.1") if folder else ():
            (folder / name).symlink_to(found[0])
    return shared / "library"


@pytest.fixture(scope="session")
def build(library: Path, shared: Path) -> Callable[[str], Program]:
    """build("rust"): the program; skips where it cannot be built here."""
    made: dict[str, Program] = {}

    def get(language: str) -> Program:
        if language not in made:
            needs, compile_it, command = BUILDERS[language]
            for names in needs:
                compiler(*names)
            if language == "java" and "SRI_ORT_JAR" not in os.environ:
                pytest.skip("SRI_ORT_JAR does not name a jar of onnxruntime for Java, and pip has none")
            with once(shared, language) as out:
                if out:
                    compile_it(library, out)
            made[language] = Program(language, tuple(command(shared / language)))
        return made[language]

    return get


@pytest.fixture(scope="session", params=LANGUAGES)
def program(request: pytest.FixtureRequest, build: Callable[[str], Program]) -> Program:
    return build(request.param)


def compiler(*names: str) -> str:
    """The first of these that is installed."""
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"no {' or '.join(names)} on PATH")


def call(*command: object, cwd: Path, **env: object) -> None:
    """Runs a build; what it says is the message if it fails."""
    extended = os.environ | {key: str(value) for key, value in env.items()}
    done = subprocess.run([str(x) for x in command], cwd=cwd, env=extended, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def compile_c(library: Path) -> Callable[..., None]:
    """compile_c(out, *sources): with every warning an error, and sanitizers."""
    return lambda out, *sources: _compile_c(library, out, *sources, flags=SANITIZERS)


def _compile_c(library: Path, out: Path, *sources: object, flags: Sequence[str]) -> None:
    link = f"-L{library}", "-lonnxruntime", "-lm", "-lpthread", f"-Wl,-rpath,{library}"
    folder = RUNTIMES / "c"
    call(compiler(*C), *WARNINGS, *flags, "-I", folder, "sri_guard.c", *sources, "-o", out, *link, cwd=folder)


def _c(library: Path, out: Path) -> None:
    _compile_c(library, out / "sri_score", "example/sri_score.c", flags=["-O2"])


def _c_sanitized(library: Path, out: Path) -> None:
    _compile_c(library, out / "sri_score", "example/sri_score.c", flags=SANITIZERS)


def _rust(library: Path, out: Path) -> None:
    env = {"ORT_LIB_DIR": library, "CARGO_TARGET_DIR": out}
    call(compiler("cargo"), "build", "--offline", "--locked", cwd=RUNTIMES / "rust", **env)


def _go(library: Path, out: Path) -> None:
    command = compiler("go"), "build", "-buildvcs=false", "-o", out / "sri_score", "./cmd/sri_score"
    call(*command, cwd=RUNTIMES / "go", CGO_LDFLAGS=f"-L{library} -Wl,-rpath,{library}")


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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Some compilers are slow where they run for the first time, and whoever comes first waits for them."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(900))


# -- signals in files --------------------------------------------------------------------------------------------


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., Path]:
    """lines(domain, ids, values, lengths, fingerprint): a file as somebody's own program would write it."""

    def write(
        domain: str, ids: Sequence[str], values: NDArray[Any], lengths: NDArray[Any] | None, fingerprint: Any
    ) -> Path:
        rows = [] if fingerprint is None else [{"sri_signals": 1, "fingerprint": fingerprint}]
        for row, name in enumerate(ids):
            given = {} if lengths is None else {"length": int(lengths[row])}
            rows.append({"id": name, domain: values[row].astype(float).tolist(), **given})
        path = tmp_path / "signals.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        return path

    return write
