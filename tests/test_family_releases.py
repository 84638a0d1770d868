"""What the page says of families and releases of transformers is what `load` does, and the error names the release."""

import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from sri_sdk import registry
from sri_sdk.checkpoint.refusals import check_stack
from sri_sdk.errors import ConfigError

PAGE = (Path(__file__).parents[1] / "docs/model-families.md").read_text(encoding="utf-8")
_, _, SECTION = PAGE.partition("## Releases that were tried\n")
LINES = [line.strip("| ").split(" | ") for line in SECTION.split("\n## ")[0].splitlines() if line.startswith("| ")]
RELEASES, ROWS = LINES[0][1:], {hook.strip("`"): cells for hook, *cells in LINES[1:]}
CASES = [(hook, release, cell) for hook, cells in ROWS.items() for release, cell in zip(RELEASES, cells, strict=True)]


class Loads(Exception):
    """The release is none of those that are refused."""


def test_every_family_that_comes_as_a_checkpoint_has_a_row() -> None:
    hooks = {each.name: registry.load("hooks", each.name) for each in registry.installed("hooks")}
    ours = {name for name, hook in hooks.items() if "source" in hook.Config.model_fields}
    assert set(ROWS) == ours


def test_the_release_that_is_pinned_was_tried() -> None:
    pins = (Path(__file__).parents[1] / "constraints.txt").read_text(encoding="utf-8")
    assert re.findall(r"^transformers==(.+)$", pins, re.MULTILINE)[0] in RELEASES


@pytest.mark.parametrize(("hook", "release", "said"), CASES, ids=[f"{hook}-{release}" for hook, release, _ in CASES])
def test_a_release_is_refused_by_name_where_the_page_says_so(
    hook: str, release: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looks_only(*asked: Any) -> None:
        check_stack(*asked)
        raise Loads

    monkeypatch.setattr(metadata, "version", lambda package: release if package == "transformers" else "99")
    monkeypatch.setattr("sri_sdk.checkpoint.load.check_stack", looks_only)
    kind = registry.load("hooks", hook)
    options = kind.Config(source="nobody/nothing", revision="main", trust_remote_code=True)
    with pytest.raises((Loads, ConfigError)) as raised:
        kind.load(options)
    message = str(raised.value)
    assert said.split(":")[0] == ("loads" if raised.type is Loads else "refused"), message
    if raised.type is ConfigError:
        assert f"hook {hook}: transformers {release} is installed. Known to work: transformers" in message
        assert re.search(r'pip install "transformers[<>=0-9.,]+"', message)
