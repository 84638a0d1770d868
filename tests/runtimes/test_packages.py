"""The packages for JavaScript name no place they were installed from, so they install anywhere."""

import json

import pytest

from tests.runtimes.programs import RUNTIMES


@pytest.mark.parametrize("name", ["node", "web"])
def test_a_lock_file_holds_hashes_and_no_host_but_the_public_registry(name):
    packages = json.loads((RUNTIMES / name / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    others = {where: entry for where, entry in packages.items() if where}
    hosts = {entry["resolved"] for entry in others.values() if "resolved" in entry}
    assert {url for url in hosts if not url.startswith("https://registry.npmjs.org/")} == set()
    assert others and all(entry["integrity"].startswith("sha512-") for entry in others.values())
