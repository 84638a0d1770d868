"""What `make test-transformers-4` leaves out, as it says the same on any release of transformers."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
(LEFT_OUT,) = re.findall(r"^DOUBLES_KITS := (.+)$", MAKEFILE, re.MULTILINE)
IMPORTS = re.compile(r"^\s*(?:import|from) (?:transformers|peft)\b", re.MULTILINE)


def test_every_test_that_is_left_out_is_there() -> None:
    found = [each.split("::") for each in LEFT_OUT.split()]
    assert found
    assert [name for file, name in found if f"def {name}" not in (ROOT / "plugins" / file).read_text()] == []


def test_the_doubles_of_kits_that_are_left_out_import_nothing_of_transformers() -> None:
    folders = {each.partition("/")[0] for each in LEFT_OUT.split()}
    doubles = [file for folder in sorted(folders) for file in (ROOT / "plugins" / folder).glob("*/stand_ins/*.py")]
    assert {file.parts[-4] for file in doubles} == folders
    assert [file.name for file in doubles if IMPORTS.search(file.read_text(encoding="utf-8"))] == []
    # The same look finds it in a double that is a model of transformers.
    assert IMPORTS.search((ROOT / "plugins/masked-lm/sri_plugin_masked_lm/stand_ins/model.py").read_text())
