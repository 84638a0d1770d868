"""The reference implementation in a folder that the user names: which code it must be, and how it is imported.

It has no licence, so none of it is in this repository: it is known by its commit and by digests of its files.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sri_sdk.errors import ConfigError
from sri_sdk.files import sha256

REPOSITORY = "https://github.com/ElironRahimi/sri-signal"
COMMIT = "87ebc59a7fa4d4d12848d165ea3e1ba0d655f6ee"
"""What the reference was read and run at."""
FILES = {
    "Models/LlamaWrapper.py": "b5b8a188388af5af5db6f1f811ba2e94eb8ed8c8883426a7aaa96216c80354f6",
    "Models/ModelWrapper.py": "127b0e34d6ad496bd461be95b984162a24a799a536b240f848ed273be0cb3576",
    "SRI_alg.py": "6d0f58ab18feeec33bb90d83839ae770c328463205ba57b0261c8856debb9800",
    "utils.py": "fac5fae10f034f8f4b6809ddc5a445728002c72abda77131036ada04d68bc62a",
}
"""SHA-256 of the files that are run, at that commit."""
PICTURES_AND_DATA = ("datasets", "pandas", "matplotlib", "matplotlib.pyplot")
"""Imported at the top of those files, and used by nothing that is run here."""


def check(folder: Path) -> None:
    """Refuses a folder that does not hold the code the results are about.

    Raises:
        ConfigError: it does not exist, or a file is missing or different; every such file is named.
    """
    get = f"Get it: git clone {REPOSITORY} FOLDER && git -C FOLDER checkout {COMMIT}"
    if not folder.is_dir():
        raise ConfigError(f"--code {folder}: no such folder; expected a copy of {REPOSITORY} at {COMMIT[:7]}. {get}")
    problems = []
    for name, expected in FILES.items():
        path = folder / name
        found = sha256(path.read_bytes()) if path.is_file() else None
        if found is None:
            problems.append(f"{name} is missing")
        elif found != expected:
            problems.append(f"{name} has SHA-256 {found[:12]}, expected {expected[:12]}")
    if problems:
        raise ConfigError(
            f"--code {folder}: not the code that the results are about, {REPOSITORY} at {COMMIT[:7]}: "
            f"{'; '.join(problems)}. {get}",
            problems,
        )


def modules(folder: Path) -> tuple[Any, Any]:
    """The reference's wrapper for Llama models and its helpers, as modules; nothing is written into the folder."""
    import torch  # noqa: F401 - before the stand-ins below, which would confuse what it looks for
    import transformers  # noqa: F401

    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder.resolve()))
    with _stand_ins():
        return importlib.import_module("Models.LlamaWrapper"), importlib.import_module("utils")


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Empty modules for packages that are not installed and not needed."""
    made = []
    for name in PICTURES_AND_DATA:
        top = name.partition(".")[0]
        if top in made or (name not in sys.modules and find_spec(top) is None):
            sys.modules[name] = types.ModuleType(name)
            made.append(name)
    if "datasets" in made:
        sys.modules["datasets"].load_dataset = None  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]
