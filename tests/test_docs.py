"""What the documentation says: its code runs, its links lead somewhere, and it leaves out no error and no reason."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import sri_sdk
from sri_sdk import errors, reason_words, registry
from sri_sdk.capture import conclude
from sri_sdk.checkpoint import load_checkpoint
from sri_sdk.older_hooks import OLDER_NAMES
from sri_sdk.scoring import reasons
from tests import command_line, forks
from tests.fitting.conftest import SMALL
from tests.test_layers import EXPORTERS_MAY_IMPORT, LAYER_OF, PLUGINS_MAY_IMPORT

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHER_PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: (.+?) -->\n\Z")
LINK = re.compile(r"\]\(([^)\s]+)\)")

README_CONFIG = {**SMALL, "out": "out/lab-diffusion"}
"""Stands for configs/lab-diffusion.yaml in the reader's folder: the README's code, in seconds instead of a minute."""


@dataclass(frozen=True)
class Block:
    """One ```python block of a page."""

    page: Path
    line: int
    """Of its first line of code, counted from 1."""
    code: str
    not_run: str | None
    """Why it must not run; None = it runs."""

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        why = NOT_RUN.search(text[: match.start()])
        found.append(Block(page, text.count("\n", 0, match.start(1)) + 1, match[1], why and why[1]))
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.fixture(scope="module")
def run_page() -> Iterator[forks.Run]:
    with forks.forks() as run:
        yield run


@pytest.mark.parametrize("page", dict.fromkeys(b.page for b in BLOCKS if b.not_run is None), ids=lambda page: page.name)
def test_the_code_of_a_page_runs_from_top_to_bottom(page: Path, tmp_path: Path, run_page: forks.Run) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/lab-diffusion.yaml").write_text(yaml.safe_dump(README_CONFIG))
    # Every line stays where the page has it, so that a traceback names the page and its line.
    lines = [""] * len(page.read_text(encoding="utf-8").splitlines())
    for block in BLOCKS:
        if block.page == page and block.not_run is None:
            code = block.code.splitlines()
            lines[block.line - 1 : block.line - 1 + len(code)] = code
    (tmp_path / page.name).write_text("\n".join(lines), encoding="utf-8")
    # A process of its own: pages define classes and tap models, and the next one must not see them.
    code, said = run_page(tmp_path / page.name)
    assert code == 0, f"{page.relative_to(ROOT)}:\n{said[-6000:]}"


def test_a_family_whose_own_loop_never_calls_the_model_takes_at_most_60_lines() -> None:
    (block,) = [block for block in BLOCKS if "class LoopHook" in block.code]
    assert block.not_run is None
    assert len([line for line in block.code.splitlines() if line.strip()]) <= 60


def test_the_guide_for_families_has_the_whole_signature_of_load_checkpoint() -> None:
    (block,) = [block for block in BLOCKS if "def load_checkpoint" in block.code]
    shown = dict(re.findall(r"^    (\w+): (.+?),(?:  #.*)?$", block.code, re.MULTILINE))
    written = {}
    for name, each in inspect.signature(load_checkpoint).parameters.items():
        default = "" if each.default is each.empty else f" = {each.default!r}".replace("'", '"')
        written[name] = f"{each.annotation}{default}"
    assert shown == written


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.not_run is not None], ids=str)
def test_code_that_does_not_run_is_valid_and_says_why(block: Block) -> None:
    compile(block.code, str(block), "exec")
    pytest.skip(f"{block}: {block.not_run}")


def test_every_mark_stands_directly_above_a_block() -> None:
    marks = sum(page.read_text(encoding="utf-8").count("<!-- not run") for page in PAGES)
    assert marks == sum(block.not_run is not None for block in BLOCKS)


@pytest.mark.parametrize("page", [*PAGES, *OTHER_PAGES], ids=lambda page: page.name)
def test_relative_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    dead = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target, _, heading = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        file = (page.parent / target) if target else page
        if not file.exists() or (heading and heading not in headings(file)):
            dead.append(link)
    assert not dead


def headings(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_every_error_and_every_reason_has_a_cure() -> None:
    page = (ROOT / "docs/errors-and-cures.md").read_text(encoding="utf-8")
    classes = {
        name for name, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, errors.SriError)
    }
    # Codes are the lower-case constants of the modules that give verdicts their reasons.
    codes = {
        value
        for module in (conclude, reasons, reason_words)
        for name, value in vars(module).items()
        if name.isupper() and not name.startswith("_") and isinstance(value, str) and value.islower()
    }
    assert {"ConformanceError", "tap_silent", "score_above_threshold"} <= classes | codes
    first_cells = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert not (classes | codes) - first_cells


def test_the_plugin_api_page_names_every_kind_with_its_version() -> None:
    page = (ROOT / "docs/plugin-api.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| `([\w.]+)` \| `sri_sdk\.(?:\w+\.)?(\w+)` \| (\d+) \|$", page, re.MULTILINE)
    assert rows == [(kind, k.group, k.interface.__name__, str(k.api)) for kind, k in registry.KINDS.items()]


def test_the_extension_points_page_lists_every_method_of_every_interface() -> None:
    page = (ROOT / "docs/extension-points.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert set(sections) == {kind.interface.__name__ for kind in registry.KINDS.values()}
    for kind in registry.KINDS.values():
        interface, section = kind.interface, sections[kind.interface.__name__]
        public = {name for name in vars(interface) if not name.startswith("_") and name not in OLDER_NAMES}
        methods = {name for name in public if inspect.isroutine(getattr(interface, name))}
        # `name` at the start of a row; bold where a plugin must write it.
        rows = re.findall(r"^\| (\**)`(\w+)\((.*?)\)`\1 \|", section, re.MULTILINE)
        assert {name for _, name, _ in rows} == methods
        assert {name for bold, name, _ in rows if bold} == interface.__abstractmethods__
        for _, name, arguments in rows:
            parameters = inspect.signature(getattr(interface, name)).parameters
            assert arguments == ", ".join(each for each in parameters if each != "self"), name
        attributes = {*public - methods, *interface.__annotations__} - {"Config"}
        assert {name for name in attributes if f"`{name}`" not in section} == set()
        assert f"`{kind.group}`" in section and f"`sri_sdk.{interface.__name__}`" in section


def test_the_page_of_python_names_has_every_public_name_once() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    listed = re.findall(r"^::: sri_sdk\.(\w+)$", page, re.MULTILINE)
    assert sorted(listed) == sorted(sri_sdk.__all__), "add or remove lines `::: sri_sdk.NAME` in docs/api.md"


def test_the_command_line_page_is_what_the_command_prints() -> None:
    assert command_line.PAGE.read_text(encoding="utf-8") == command_line.page(), "run `make command-line`"


def test_the_plugin_api_page_names_every_module_that_a_plugin_may_import() -> None:
    page = (ROOT / "docs/plugin-api.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `sri_sdk\.(\w+)` \| ([^|]*) \| [^|]* \|$", page, re.MULTILINE)
    assert {module for module, _ in rows} == PLUGINS_MAY_IMPORT | EXPORTERS_MAY_IMPORT
    # A module that only exporters may import must not look as if it were for all.
    assert {module for module, whose in rows if whose.startswith("exporters")} == EXPORTERS_MAY_IMPORT


def test_the_plugin_api_page_names_the_older_names_that_still_work() -> None:
    page = (ROOT / "docs/plugin-api.md").read_text(encoding="utf-8")
    assert all(f"| `Hook.{new}` | `{old}` |" in page for old, new in OLDER_NAMES.items())


def test_the_map_of_the_house_has_every_room_on_its_floor() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawn, floor = {}, 0
    for number, rooms_of_row in re.findall(
        r"^\| (\d*) ?\| (`[\w./`, ]+`(?: \(to come\))?) \| [^|]+\|$", page, re.MULTILINE
    ):
        floor = int(number or floor)
        drawn |= {room.removesuffix(".py"): floor for room in re.findall(r"`([\w.]+)/?`", rooms_of_row)}
    assert drawn == {room: level + 1 for room, level in LAYER_OF.items()}
