"""What a model thinks before it answers, told apart from the answer: for judges that think and for watched models.

A refusal that is only thought of is no refusal, and the word that a judging model ends with is its answer.

`MARKS` is what models are known to write around their thoughts. Add to it with `model.thoughts` in a config, with the
option `thoughts` of a judge, or with the attribute `thoughts` of a hook.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal
from weakref import WeakKeyDictionary

VERSION = 1
"""Of `MARKS` and of how they are read; stored outcomes depend on it."""

Stray = Literal["thought", "mark", "text"]
"""What a closing mark without an opening one means: what stands before it was thought (the template opened the thought
in the prompt), it is a mark of something else and goes, or it is text like any other."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What one kind of model writes around its thoughts."""

    opening: str
    """Regular expression. Its group `name`, if any, must stand in the closing mark too."""
    closing: str
    """Regular expression."""
    who: str
    """Which models, and where that is written down."""
    tokens: tuple[str, ...] = ()
    """Special tokens that the marks are made of, where a mark is more than one token."""
    stray: Stray = "thought"
    plain: bool = False
    """Whether anybody may write these words: they then open a thought only where a closing mark follows, or at the
    start of the response."""


_NAMES = r"(?:[\w.-]+[:_])?(?:think|thinking|thoughts?|reasoning)"
_BAR = r"[|\uff5c]"
_GAP = r"[^<]{0,200}"

MARKS = (
    Marks(
        rf"<\s{{0,8}}(?P<name>{_NAMES})\s{{0,8}}>", rf"<\s{{0,8}}/\s{{0,8}}(?P<name>{_NAMES})\s{{0,8}}>",
        "<think>: DeepSeek-R1, Qwen3, GLM, Phi-4-reasoning, Olmo 3, SmolLM3 and most others; <thought>: EXAONE Deep; "
        "<seed:think>: Seed-OSS; <longcat_think>: LongCat; <thinking>, <reasoning>: common in prompts. From their "
        "chat templates and the reasoning parsers of vLLM and SGLang",
        plain=True,
    ),
    Marks(
        rf"<{_BAR}(?P<name>think(?:ing)?|thoughts?){_BAR}>",
        rf"<(?:/{_BAR}|{_BAR}/)(?P<name>think(?:ing)?|thoughts?){_BAR}>",
        "<|think|>: the same as special tokens; seen in fine-tunes",
    ),
    Marks(
        rf"<\|channel\|>\s*(?:analysis|commentary)\b{_GAP}(?:<\|constrain\|>{_GAP})?<\|message\|>",
        r"<\|end\|>|<\|call\|>|<\|return\|>|(?=<\|start\|>)|(?=<\|channel\|>)",
        "gpt-oss: the harmony format, github.com/openai/harmony",
        ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>", "<|return|>", "<|call|>"),
        stray="mark",
    ),
    Marks(
        r"\A\s*analysis(?=\S)", r"assistant\s*final",
        "gpt-oss, where somebody decoded it without its special tokens", stray="text", plain=True,
    ),
    Marks(
        r"\[THINK\]", r"\[/THINK\]", "Magistral: mistral-common, special tokens THINK and /THINK",
    ),
    Marks(
        r"<\|START_THINKING\|>", r"<\|END_THINKING\|>", "Command A Reasoning: its chat template",
    ),
    Marks(
        r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>", "Sky-T1, OpenThinker: their system prompts",
    ),
    Marks(
        r"<\|channel>\s*(?:thought|analysis)\b", r"<channel\|>", "Gemma 4: its chat template",
        ("<|channel>", "<channel|>"),
    ),
    Marks(
        r"<\|inner_prefix\|>", r"<\|inner_suffix\|>", "Apertus: its chat template",
    ),
    Marks(r"\u25c1think\u25b7", r"\u25c1/think\u25b7", "Kimi-VL-Thinking: its model card"),
    Marks(r"\[unused16\]", r"\[unused17\]", "openPangu: its model card"),
    Marks(r"<unused94>\s*thought\b", r"<unused95>", "MedGemma 1.5: its model card", ("<unused94>", "<unused95>")),
    Marks(
        r"\A\s*Here(?: i|')s my thought process:", r"Here(?: i|')s my response:",
        "Granite 3.2: its chat template; plain words", stray="text",
    ),
)  # fmt: skip

_AROUND_ANSWERS = (
    rf"<\|start\|>\s*assistant\b(?=\s*<\|)|<\|channel\|>\s*final\b{_GAP}<\|message\|>"
    r"|<\|(?:START|END)_RESPONSE\|>|<\|(?:begin|end)_of_solution\|>"
)
"""What stands around answers beside thoughts."""
_NEXT = re.compile(r"\S")
_WRAPPED = re.compile(r"\s*<(answer|response)>(.*?)(?:</\1>\s*)?\Z", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Parts:
    """A response, taken apart."""

    answer: str
    """The text without its thoughts: the very same where it has none; empty where a thought never ends."""
    thought: str
    unfinished: bool
    """Whether a thought is open at the end."""


class Thoughts:
    """Tells thoughts from answers by the marks around them."""

    def __init__(self, more: Iterable[tuple[str, str]] = ()) -> None:
        """Knows `MARKS`, and others.

        Args:
            more: what opens and what closes a thought, as the model writes them.
        """
        self.more = tuple((opening, closing) for opening, closing in more)
        own = (Marks(re.escape(o), re.escape(c), "configured", tuple(dict.fromkeys((o, c)))) for o, c in self.more)
        self._marks = (*own, *MARKS)
        parts = [f"(?P<a>{_AROUND_ANSWERS})"]
        for number, marks in enumerate(self._marks):
            # A group may be named once in a whole pattern.
            opening, closing = (
                text.replace("(?P<name>", f"(?P<{kind}n{number}>")
                for kind, text in (("o", marks.opening), ("c", marks.closing))
            )
            parts += [f"(?P<o{number}>{opening})", f"(?P<c{number}>{closing})"]
        self._pattern = re.compile("|".join(parts), re.IGNORECASE)
        self._tokens: WeakKeyDictionary[Any, dict[int, str]] = WeakKeyDictionary()

    def split(self, text: str) -> Parts:
        """Takes a response apart.

        Args:
            text: what a model wrote; with the mark that its template opened a thought with, if that is known.
        """
        found = [mark for each in self._pattern.finditer(text) if (mark := self._mark(each)) is not None]
        return _Reading(text, found).parts() if found else Parts(text, "", False)

    def answer(self, text: str) -> str:
        """What a model says, without what it thinks."""
        return self.split(text).answer

    def opened_by(self, tail: str) -> str:
        """What a chat template leaves open: the response begins within a thought.

        Args:
            tail: what the template writes behind the request, with its special tokens.

        Returns:
            From the open mark to the end; empty = no thought is open.
        """
        start = None
        for each in self._pattern.finditer(tail):
            if (mark := self._mark(each)) is not None and mark.kind != "a":
                start = mark.start if mark.kind == "o" else None
        return "" if start is None else tail[start:]

    def decode(self, tokenizer: Any, rows: Sequence[Sequence[int]]) -> list[str]:
        """Token ids as text: special tokens are left out, but those around thoughts stay.

        Args:
            tokenizer: has `batch_decode`.
            rows: token ids of each response.
        """
        kept = self._kept(tokenizer)
        texts: list[str] = tokenizer.batch_decode(list(rows), skip_special_tokens=True)
        for at, row in enumerate(rows):
            if kept and any(token in kept for token in row):
                texts[at] = "".join(self._pieces(tokenizer, row, kept))
        return texts

    def _pieces(self, tokenizer: Any, row: Sequence[int], kept: dict[int, str]) -> Iterable[str]:
        start = 0
        for at, token in enumerate((*row, None)):
            if token is None or token in kept:
                if start < at:
                    yield tokenizer.batch_decode([list(row[start:at])], skip_special_tokens=True)[0]
                if token is not None:
                    yield kept[token]
                start = at + 1

    def _kept(self, tokenizer: Any) -> dict[int, str]:
        """Special tokens of a tokenizer that stand around thoughts: id -> text."""
        if tokenizer in self._tokens:
            return self._tokens[tokenizer]
        special, kept = _special_tokens(tokenizer), dict[int, str]()
        for place, marks in enumerate(self._marks):
            pair = [[t for t in special if re.fullmatch(mark, t)] for mark in (marks.opening, marks.closing)]
            if place < len(self.more):
                # A configured mark may be more than its special token.
                wanted = [text for text in special if any(text in mark for mark in self.more[place])]
            elif all(pair):
                wanted = [*pair[0], *pair[1]]
            else:
                # All or none: `<|end|>` is also how other families end a message.
                wanted = list(marks.tokens) if set(marks.tokens) <= special.keys() else []
            kept.update({special[text]: text for text in wanted})
        with suppress(TypeError):  # Not every stand-in can be a key.
            self._tokens[tokenizer] = kept
        return kept

    def _mark(self, found: re.Match[str]) -> _Mark | None:
        group = found.lastgroup or ""
        start, end = found.span()
        if found.string[start - 1 : start] == "`" and found.string[end : end + 1] == "`":
            # Somebody speaks of the mark.
            return None
        if group == "a":
            return _Mark("a", "", "", start, end, "mark", False)
        marks = self._marks[int(group[1:])]
        name = (found.groupdict().get(f"{group[0]}n{group[1:]}") or "").casefold()
        return _Mark(group[0], f"{group[1:]} {name}", group[1:], start, end, marks.stray, marks.plain)


def _special_tokens(tokenizer: Any) -> dict[str, int]:
    """Text -> id of what a tokenizer leaves out when it skips special tokens."""
    added = getattr(tokenizer, "added_tokens_decoder", None)
    if isinstance(added, dict) and added:
        return {str(token): number for number, token in added.items() if getattr(token, "special", False)}
    names, numbers = (getattr(tokenizer, name, None) for name in ("all_special_tokens", "all_special_ids"))
    if isinstance(names, list | tuple) and isinstance(numbers, list | tuple) and len(names) == len(numbers):
        return dict(zip(names, numbers, strict=True))
    return {}


@dataclass(frozen=True, slots=True)
class _Mark:
    """A mark in a text."""

    kind: str
    """`o` opens a thought, `c` closes one, `a` stands around an answer."""
    key: str
    """The same for marks that belong together."""
    family: str
    """The same for all marks of one row of `MARKS`."""
    start: int
    end: int
    stray: Stray
    plain: bool


class _Reading:
    """One pass over a text from mark to mark."""

    def __init__(self, text: str, marks: Sequence[_Mark]) -> None:
        self._text, self._marks = text, marks
        self._last = {mark.key: mark.start for mark in marks if mark.kind == "c"}
        self._answer: list[str] = []
        self._thought: list[str] = []
        self._at = 0
        """Where the part begins that belongs to nothing yet."""
        self._fences = self._fenced = 0
        self._said = False
        """Whether there is an answer before that part."""
        self._words = _NEXT.search(text)
        """The first word of that part."""

    def parts(self) -> Parts:
        """The whole text, taken apart."""
        inside: _Mark | None = None
        for mark in self._marks:
            if mark.start < self._at:
                continue
            if inside is not None:
                if self._closes(mark, inside):
                    self._take(self._thought, mark)
                    inside = None
            elif mark.kind == "o":
                if self._opens(mark):
                    self._take(self._answer, mark)
                    inside = mark
            elif mark.kind == "c" and mark.stray == "thought":
                self._take(self._answer, mark)
                # A template opened this thought, or its beginning was cut off.
                self._thought += self._answer
                self._answer, self._said = [], False
            elif mark.kind == "a" or mark.stray == "mark":
                self._take(self._answer, mark)
        (self._thought if inside else self._answer).append(self._text[self._at :])
        if not self._at:
            return Parts(self._text, "", False)
        answer = " ".join(filter(None, self._answer)).strip()
        if self._thought and (wrapped := _WRAPPED.match(answer)):
            answer = wrapped[2].strip()
        return Parts(answer, "\n".join(filter(None, map(str.strip, self._thought))), inside is not None)

    def _take(self, into: list[str], mark: _Mark) -> None:
        """Gives what stands before a mark to the answer or to the thoughts."""
        into.append(self._text[self._at : mark.start])
        self._said |= into is self._answer and self._speaks_before(mark)
        self._at = self._fenced = mark.end
        self._fences, self._words = 0, _NEXT.search(self._text, mark.end)

    def _speaks_before(self, mark: _Mark) -> bool:
        return self._words is not None and self._words.start() < mark.start

    def _opens(self, mark: _Mark) -> bool:
        if not mark.plain:
            return True
        self._fences += self._text.count("```", self._fenced, mark.start)
        self._fenced = mark.start
        if self._fences % 2:
            # An example in a block of code.
            return False
        return self._last.get(mark.key, -1) >= mark.end or not (self._said or self._speaks_before(mark))

    def _closes(self, mark: _Mark, inside: _Mark) -> bool:
        if mark.kind != "c":
            # In harmony the next message closes the one before.
            return mark.kind == "a" and inside.stray == "mark"
        if mark.key == inside.key:
            return True
        # `<thinking> ... </think>`: some mix them up.
        return mark.family == inside.family and self._last.get(inside.key, -1) < self._at


KNOWN = Thoughts()
"""For texts of models that nothing is configured for."""


@lru_cache(maxsize=64)
def thoughts(more: tuple[tuple[str, str], ...]) -> Thoughts:
    """`Thoughts` with further marks; the same object for the same ones."""
    return Thoughts(more) if more else KNOWN
