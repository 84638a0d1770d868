"""The runtimes in C, Rust, Go and Java: each is built where its compiler is present, and all answer alike."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from tests.runtimes import programs
from tests.runtimes.programs import SANITIZERS, Absent, Program

LANGUAGES = ["c", "c-sanitized", "rust", "go", "java"]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run have in common."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "native"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def build(shared: Path) -> Callable[[str], Program]:
    """build("rust"): the program; skips where it cannot be built here."""

    def get(language: str) -> Program:
        try:
            return programs.build(language, shared)
        except Absent as err:
            pytest.skip(str(err))

    return get


@pytest.fixture(scope="session", params=LANGUAGES)
def program(request: pytest.FixtureRequest, build: Callable[[str], Program]) -> Iterator[Program]:
    found = build(request.param)
    if request.param == "java":
        with programs.resident(found) as running:
            yield running
    else:
        yield found


@pytest.fixture(scope="session")
def compile_c(shared: Path) -> Callable[..., None]:
    """compile_c(out, *sources): with every warning an error, and sanitizers."""

    def compile_it(out: Path, *sources: object) -> None:
        try:
            programs.compile_c(shared, out, *sources, flags=SANITIZERS)
        except Absent as err:
            pytest.skip(str(err))

    return compile_it


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
