"""Words that a suffix is searched among."""

from __future__ import annotations

from pathlib import Path

from sri_sdk.errors import ConfigError

WORDS = (
    "answer", "article", "begin", "below", "brief", "bullet", "certainly", "chapter", "clear", "complete",
    "course", "describe", "detail", "document", "example", "exactly", "explain", "finally", "first",
    "following", "format", "given", "guide", "heading", "here", "index", "inside", "item", "letter", "line",
    "list", "manual", "method", "next", "note", "number", "outline", "page", "paragraph", "plain", "please",
    "point", "print", "quote", "reply", "report", "second", "section", "sentence", "short", "simple",
    "solution", "start", "step", "sure", "table", "text", "then", "third", "title", "together", "tutorial",
    "write", "yes",
)  # fmt: skip
"""Everyday words about answers and their form; none of them says anything of a subject."""


def read_words(path: Path) -> tuple[str, ...]:
    """Words of a text file, whatever stands between them; each once, in the order of the file.

    Raises:
        ConfigError: it cannot be read, or holds fewer than two.
    """
    try:
        found = tuple(dict.fromkeys(path.read_text(encoding="utf-8").split()))
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"attack random-search: words_file {path}: {err}. Give a UTF-8 text file of words.") from err
    if len(found) < 2:
        raise ConfigError(f"attack random-search: words_file {path} holds {len(found)} words; a search needs two.")
    return found
