"""`sri plugins new`: a package to start from, made of the installed toy plugin and the texts in the folder beside."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from sri_sdk import registry
from sri_sdk.errors import ConfigError
from sri_sdk.files import replacing

Kind = Literal["hook", "sampler", "detector", "judge", "dataset", "sink"]
KINDS: tuple[str, ...] = get_args(Kind)
Scheme = Literal["masked", "autoregressive"]
SCHEMES: tuple[str, ...] = get_args(Scheme)
"""How a new hook's model generates."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TOY = "sri_plugin_toy"


@dataclass(frozen=True, slots=True)
class _Template:
    """What differs between kinds."""

    modules: tuple[str, ...]
    """Modules of the package: texts of the folder beside, or copied from the toy, which is masked."""
    requires: str
    holds: str
    next: str


_TEMPLATES: dict[str, _Template] = {
    "hook": _Template(
        ("hook", "model"),
        "sri-sdk[capture]>=0.1",
        "where the hidden states are, and what each forward pass means",
        "The example model stands for yours: answer each method of the hook for your family, have `example()` build\n"
        "a small one, and delete `model.py`. The checks name module, step and numbers of what does not hold yet.",
    ),
    "sampler": _Template(
        ("sampler",),
        "sri-sdk[capture]>=0.1",
        "one token per step, from left to right",
        "Change how `steps()` chooses what to fix. The checks say which promise a change breaks.",
    ),
    "detector": _Template(
        ("detector",),
        "sri-sdk>=0.1",
        "from signals to one score",
        "Change `fit`, `score` and `export` together: the checks compare the formula with the graph it draws.",
    ),
    "judge": _Template(
        ("judge",),
        "sri-sdk>=0.1",
        "one word per response, by phrases",
        "Change how `judge()` decides, and give `example()` responses whose outcome you know.",
    ),
    "dataset": _Template(
        ("dataset",),
        "sri-sdk>=0.1",
        "prompts by split, label and attack",
        "Put your prompts in place of the village. If they need options, such as a file, write an `example()`.",
    ),
    "sink": _Template(
        ("sink",),
        "sri-sdk>=0.1",
        "one JSON line per verdict, written by a thread",
        "Change `_write()` to deliver elsewhere, and have `example()` say what arrived and give a sink that is down.",
    ),
}

# What the toy says to someone who copies it by hand, and what is true of a package this command wrote. A test sees that
# none is left.
_SAID_ONCE = (
    (
        "To start your own: copy this file, rename the class, and answer each method for your model. Import torch and "
        "your stack\ninside methods only: loading a plugin must not cost a user seconds, or need what they lack.",
        "Answer each method for your model. Import torch and your stack inside methods only: loading a plugin must\n"
        "not cost a user seconds, or need what they lack.",
    ),
    ("Copy this file to start your own.", "Change it to yours."),
    ("The toy sampler: a", "Sampler `toy`: a"),
    ("The toy hook: what", "Hook `toy`: what"),
)


def write_plugin(name: str, kind: str, target: Path, scheme: str = "masked") -> list[Path]:
    """Writes a plugin package, whole or not at all.

    Args:
        name: what users will type in YAML.
        kind: `hook`, `sampler`, `detector`, `judge`, `dataset` or `sink`.
        target: folder to make; must not exist.
        scheme: of a hook's model: `masked` or `autoregressive`.

    Returns:
        The files, relative to `target`.

    Raises:
        ConfigError: the name cannot be used, or the folder exists.
    """
    _admit(name, kind)
    if target.exists():
        raise ConfigError(f"{target}: exists already. Choose another folder with --out, or remove this one.")
    texts = _texts(name, kind, scheme)
    with replacing(target) as made:
        for path, text in texts.items():
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            (made / path).write_text(text, encoding="utf-8")
    return sorted(texts)


def folder(name: str) -> str:
    """Name of the distribution, and of its folder."""
    return f"sri-plugin-{name}"


def _admit(name: str, kind: str) -> None:
    if not _NAME.fullmatch(name):
        likely = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")
        hint = f" Did you mean {likely!r}?" if _NAME.fullmatch(likely) else ""
        raise ConfigError(
            f"plugin name {name!r}: must be lower-case letters and digits in words joined by single hyphens, and "
            f"begin with a letter, such as 'my-model'.{hint}"
        )
    for info in registry.installed(f"{kind}s"):
        if info.name == name:
            raise ConfigError(
                f"plugin name {name!r}: {info.distribution} has a {kind} of that name ({info.target}), and two would "
                "be refused. Choose another name, or uninstall it first."
            )
    if find_spec(package := _package(name)) is not None:
        raise ConfigError(
            f"plugin name {name!r}: a package {package} is installed already, and would hide the new one. "
            "Choose another name, or uninstall it first."
        )


def _package(name: str) -> str:
    return folder(name).replace("-", "_")


def _texts(name: str, kind: str, scheme: str) -> dict[Path, str]:
    """The files of the package by their path in it."""
    template, package, module = _TEMPLATES[kind], _package(name), name.replace("-", "_")
    # A name such as my-hook becomes MyHook, not MyHookHook.
    camel = "".join(word.capitalize() for word in name.removesuffix(f"-{kind}").split("-"))
    options = f"--kind {kind}" if scheme == "masked" else f"--kind {kind} --scheme {scheme}"
    row = f"| `{package}/model.py` | the example model, its tokenizer and its own `generate()` |\n"
    words = {
        "name": name, "kind": kind, "package": package, "module": module, "distribution": folder(name),
        "camel": camel, "class": f"{camel}{kind.capitalize()}", "requires": template.requires, "holds": template.holds,
        "next": template.next, "options": options, "extra_row": row if "model" in template.modules else "",
        "title": kind.capitalize(), "api": str(registry.KINDS[f"{kind}s"].api),
        "make": f"{camel}{kind.capitalize()}" + ("" if kind == "detector" else ".example"),
    }  # fmt: skip
    texts = {
        Path("pyproject.toml"): _filled("pyproject.toml", words),
        Path("README.md"): _filled("README.md", words),
        Path("tests", f"test_{module}.py"): _filled(
            "test_sampler.py" if kind == "sampler" else "test_plugin.py", words
        ),
        Path(".github", "workflows", "test.yml"): _filled("workflow.yml", words),
        Path(package, "__init__.py"): f'"""An sri-sdk {kind}: {name}."""\n',
    }
    for part in template.modules:
        text = f"{part}.py" if scheme == "masked" else f"{part}_{scheme}.py"
        if _beside(text).is_file():
            texts[Path(package, f"{part}.py")] = _filled(text, words)
            continue
        source = files(_TOY).joinpath(f"{part}.py").read_text(encoding="utf-8")
        texts[Path(package, f"{part}.py")] = _renamed(source, name, package, camel)
    return texts


def _filled(text: str, words: dict[str, str]) -> str:
    """A text with `{word}` filled in; other braces stay, as code and CI files are full of them."""
    return re.sub(r"\{(\w+)\}", lambda found: words.get(found[1], found[0]), _beside(text).read_text(encoding="utf-8"))


def _beside(text: str) -> Traversable:
    """A text of the folder beside this file."""
    return files("sri_sdk.cli").joinpath("scaffold_texts", f"{text}.txt")


def _renamed(source: str, name: str, package: str, camel: str) -> str:
    """A module of the toy under its new name: the model's classes too, as hooks tell families apart by class name."""
    for old, new in _SAID_ONCE:
        source = source.replace(old, new)
    source = source.replace(_TOY, package)
    source = re.sub(r"\bToy(?=[A-Z])", camel, source)
    return re.sub(r"\btoy\b", name, source)
