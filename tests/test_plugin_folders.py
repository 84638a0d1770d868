"""Each plugin folder reads as a vendor's own package, and says the same as the one distribution we ship."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(
    file.parents[1] for kind in ("plugins", "exporters") for file in ROOT.glob(f"{kind}/*/sri_*/__init__.py")
)

IMPORTED_BY_NAME = {"gateways"}
"""Folders without an extension point of ours: other people's frameworks import their modules."""


def pyproject(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def package(folder: Path) -> str:
    return next(folder.glob("sri_*/__init__.py")).parent.name


def entry_points(folder: Path, owner: str) -> set[tuple[str, str, str]]:
    groups = pyproject(folder)["project"].get("entry-points", {})
    points = {(group, name, target) for group, names in groups.items() for name, target in names.items()}
    return {point for point in points if point[2].startswith(f"{owner}.")}


def test_every_packaged_plugin_has_a_folder_and_every_folder_is_packaged() -> None:
    shipped = pyproject(ROOT)["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(shipped) == sorted(["sri_sdk", *(f"{x.relative_to(ROOT)}/{package(x)}" for x in FOLDERS)])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folders_entry_points_equal_the_roots(folder: Path) -> None:
    own = package(folder)
    declared = folder.name in IMPORTED_BY_NAME or entry_points(folder, own)
    assert declared, f"{folder}/pyproject.toml declares no entry point into {own}"
    assert entry_points(folder, own) == entry_points(ROOT, own)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_is_a_package_of_its_own_with_a_readme(folder: Path) -> None:
    project = pyproject(folder)["project"]
    assert project["name"] == package(folder).replace("_", "-")
    assert (folder / project["readme"]).read_text(encoding="utf-8").startswith("# ")
    assert pyproject(folder)["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [package(folder)]
