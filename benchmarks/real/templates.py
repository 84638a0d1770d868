"""Public jailbreak templates that PyRIT ships, chosen and shared out by rules that look at no result.

A template is fit for use if it has one place, for the prompt; is in English; and has 20 to 300 words, so that it and a
request leave room in a context of 2,048 tokens. Templates that share a fifth of their runs of four words are one
family, of which one stands for all. Families are shared out within three lengths, in the order of a hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.real.sources import Installed
from benchmarks.real.texts import contained, is_english, near_duplicates, runs_of_four, share_of, words

PLACE = "{{ prompt }}"
"""What stands for the request, in the package and in the files that are written."""
FOLDER = "pyrit/datasets/jailbreak/templates"
LENGTHS: Mapping[str, range] = {"short": range(20, 100), "medium": range(100, 200), "long": range(200, 301)}
"""Name -> words beside the request."""
USES: Mapping[str, int] = {"fit": 4, "select": 2, "verdict": 3}
"""Use -> families of each length: the first ones in the order of the hash, then the next ones."""
SAME_FAMILY = 0.2
SEED = "templates 1"

_RAW = re.compile(r"\{%-?\s*(?:end)?raw\s*-?%\}")
_PLACE = re.compile(r"\{\{\s*prompt\s*\}\}")


@dataclass(frozen=True, slots=True)
class Template:
    """One public template."""

    file: str
    """Below the package's folder of templates, without its ending."""
    text: str
    """With `{{ prompt }}` where the request goes, once."""
    source: str
    """Where it was published, as the package says."""

    @property
    def length(self) -> int:
        """Words beside the request."""
        return len(words(self.text.replace(PLACE, "")))


def read_templates(installed: Installed) -> Iterator[Template]:
    """Every template that is fit for use, in the order of their files."""
    folder = installed.path("pyrit", FOLDER)
    for path in sorted(folder.rglob("*.yaml")):
        file = path.relative_to(folder).as_posix()
        made = of_file(file.removesuffix(".yaml"), installed.yaml("pyrit", f"{FOLDER}/{file}"))
        if made is not None:
            yield made


def of_file(file: str, found: Mapping[str, object]) -> Template | None:
    """A template as its file has it; None = it is not fit for use."""
    if found.get("parameters") != ["prompt"] or found.get("data_type") != "text":
        return None
    text, places = _PLACE.subn(PLACE, _RAW.sub("", str(found.get("value", ""))))
    rest = text.replace(PLACE, "")
    # Braces that the package's own language would still replace: the text is then not what its author wrote.
    if places != 1 or "{{" in rest or "{%" in rest:
        return None
    made = Template(file, text.strip(), str(found.get("source") or found.get("dataset_name") or "unknown"))
    return made if any(made.length in each for each in LENGTHS.values()) and is_english(rest) else None


def share_out(templates: Sequence[Template]) -> dict[str, Template]:
    """Name such as `verdict-long-2` -> its template; a length with too few families has fewer of the last use."""
    groups = near_duplicates([runs_of_four(each.text.replace(PLACE, "")) for each in templates], SAME_FAMILY, contained)
    heads = [min((templates[at] for at in group), key=_order) for group in groups]
    found: dict[str, Template] = {}
    for length, wanted in LENGTHS.items():
        ordered = sorted((each for each in heads if each.length in wanted), key=_order)
        for use, count in USES.items():
            mine, ordered = ordered[:count], ordered[count:]
            found |= {f"{use}-{length}-{number}": each for number, each in enumerate(mine, 1)}
    return found


def _order(template: Template) -> float:
    return share_of(template.file, SEED)
