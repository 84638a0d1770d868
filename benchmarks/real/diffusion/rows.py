"""Questions and answers as token ids: what is trained on, kept in a file that an interrupted run continues."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.real.diffusion.questions import Question
from sri_sdk import strict_json


@dataclass(frozen=True, slots=True)
class Row:
    """One question with the answer of the causal model."""

    id: str
    prompt: list[int]
    """Ids as the masked model's chat template gives them."""
    answer: list[int]
    """Ids, the end token included where the answer ended; no longer than the canvas."""
    held_out: bool


def read(path: Path) -> list[Row]:
    """Rows of a file that `answer` has written; a line that was cut off when the run was interrupted is left out."""
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    whole: list[Any] = [strict_json.parse(line) for line in lines[:-1]]
    return [Row(**row) for row in whole]


def answer(
    causal: Any, tokenizer: Any, template: str, asked: Sequence[Question], path: Path, *, tokens: int, batch: int = 16
) -> Iterable[int]:
    """Lets the causal model answer greedily, and appends its answers to a file; questions it holds are not asked again.

    Args:
        causal: `LlamaForCausalLM`.
        tokenizer: its tokenizer, with its own chat template.
        template: of the masked model; the question alone, without the system prompt that the causal model saw.
        asked: questions.
        path: JSON lines.
        tokens: longest answer.
        batch: questions at a time.

    Yields:
        How many rows the file holds, after each batch.
    """
    import torch

    done = read(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and not path.read_bytes().endswith(b"\n"):
        path.write_bytes(path.read_bytes().rpartition(b"\n")[0] + b"\n" if done else b"")
    # By length, so that little is padded.
    todo = sorted((q for q in asked if q.id not in {row.id for row in done}), key=lambda q: (len(q.text), q.id))
    count, end = len(done), int(causal.config.eos_token_id)
    for first in range(0, len(todo), batch):
        part = todo[first : first + batch]
        starts = [tokenizer(q.start, add_special_tokens=False)["input_ids"] for q in part]
        told = [_ids(tokenizer, tokenizer.chat_template, q, with_system=True) for q in part]
        given = [ids + start for ids, start in zip(told, starts, strict=True)]
        width = max(map(len, given))
        ids = torch.tensor([[end] * (width - len(row)) + row for row in given])
        real = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in given])
        with torch.no_grad():
            out = causal.generate(
                ids, attention_mask=real, max_new_tokens=tokens, do_sample=False, pad_token_id=end
            )[:, width:]  # fmt: skip
        with path.open("ab") as stream:
            for q, start, new in zip(part, starts, out.tolist(), strict=True):
                kept = new[: new.index(end) + 1] if end in new else new
                row = {
                    "id": q.id, "prompt": _ids(tokenizer, template, q, with_system=False),
                    "answer": [*start, *kept][:tokens], "held_out": q.held_out,
                }  # fmt: skip
                stream.write(strict_json.write(row).encode() + b"\n")
        count += len(part)
        yield count


def _ids(tokenizer: Any, template: str, question: Question, *, with_system: bool) -> list[int]:
    system = [{"role": "system", "content": question.system}] if with_system and question.system else []
    text = tokenizer.apply_chat_template(
        [*system, {"role": "user", "content": question.text}],
        chat_template=template, add_generation_prompt=True, tokenize=False,
    )  # fmt: skip
    return [int(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
