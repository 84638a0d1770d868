"""Texts as judges and fold checks compare them: one normalisation, and phrases in texts of every script.

What a reader does not see makes no difference: case, width, kinds of quotes and dashes, spacing, invisible characters,
and the marks of Markdown and HTML.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable

_IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""What Unicode calls default-ignorable, and the marks of interlinear notes: nothing is drawn for any of them."""
# Control characters that are not white space either; U+2800 is a letter of Braille with no dot, which reads as a space.
_INVISIBLE = re.compile(f"[{_IGNORABLE}\u0000-\u0008\u000e-\u001b\u007f-\u0084\u0086-\u009f]")
_BLANK = re.compile("[\u2800\u001c-\u001f]")
_SIGNS = str.maketrans(
    {
        # Before NFKC, which makes a space and an accent of some of them.
        **dict.fromkeys(
            "\u2018\u2019\u201a\u201b\u02b9\u02bb\u02bc\u02bd\u02c8\u2032\u2035\uff07\u00b4\u02ca\u02cb\uff40", "'"
        ),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u2036\u00ab\u00bb\uff02", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-"),
    }
)  # fmt: skip
"""Quotes and dashes as people, phones and tokenizers write them -> the plain one."""

_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?:\s+\"[^\"]*\")?\)")
_TAG = re.compile(
    r"</?(?:b|i|u|s|em|strong|del|ins|mark|code|span|small|sub|sup|font|kbd|a)(?:\s[^<>]*)?/?>", re.IGNORECASE
)
_BREAK = re.compile(r"</?(?:br|hr|p|div|li|ul|ol|pre|blockquote|h[1-6])(?:\s[^<>]*)?/?>", re.IGNORECASE)
_LINE_MARK = re.compile(r"^[ \t]*(?:>[ \t]?|#{1,6}[ \t]+|[-*+][ \t]+)+", re.MULTILINE)
_STARS = re.compile(r"\*+|~~+|__+|(?<!\w)_(?=\w)|(?<=\w)_(?!\w)|`+")

_OPEN_SCRIPTS = (
    "\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u1900-\u19df\u1a20-\u1aaf\u1b00-\u1b7f\ua980-\ua9df\uaa00-\uaadf"
    "\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u30ff\u3130-\u31ff\u3400-\u9fff\ua960-\ua97f\uac00-\ud7ff"
    "\uf900-\ufaff\U00016fe0-\U00018dff\U0001aff0-\U0001b2ff\U00020000-\U0003ffff"
)
"""Scripts that are written without spaces between words: Thai, Lao, Tibetan, Myanmar, Khmer, Tai, Balinese, Javanese,
Chinese and Japanese. Korean is one of them here, since its particles and endings follow a word without a space."""
_OPEN = re.compile(f"[{_OPEN_SCRIPTS}]")


def normal(text: str) -> str:
    """A text as it is compared: of two that a reader takes for the same, both give one.

    Args:
        text: any text; half characters (lone surrogates) stay as they are.

    Returns:
        NFKC, folded case, straight quotes and plain dashes, no invisible characters, no marks of Markdown or HTML,
        single spaces. For comparing only: nobody should read it, and no model.
    """
    # Invisible characters first, and again: one may part a mark, and NFKC makes some of characters that were seen.
    seen = _INVISIBLE.sub("", _BLANK.sub(" ", html.unescape(text))).translate(_SIGNS)
    wide = _INVISIBLE.sub("", unicodedata.normalize("NFKC", seen)).translate(_SIGNS)
    return " ".join(unicodedata.normalize("NFKC", unmarked(wide).casefold()).split())


def squeezed(text: str) -> str:
    """A text as one text is looked for in another: NFKC, folded case, without spaces and invisible characters.

    Marks of Markdown stay, since what is a mark depends on what stands around it.

    Args:
        text: any text.
    """
    seen = _INVISIBLE.sub("", unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)))
    return "".join(unicodedata.normalize("NFKC", seen.casefold()).split())


def unmarked(text: str) -> str:
    """A text without the marks of Markdown and HTML: what they mark stays.

    Marks count without their partner too: a response that was cut off has opened some that it never closed.
    """
    plain = _LINE_MARK.sub("", text)
    plain = _LINK.sub(r"\1", _BREAK.sub(" ", _TAG.sub("", plain)))
    return _ESCAPED.sub(r"\1", _STARS.sub(_unstarred, plain))


def _unstarred(found: re.Match[str]) -> str:
    """What is left of a run of marks: all of it where it stands for itself."""
    text, (start, end) = found.string, found.span()
    before, after = text[start - 1 : start], text[end : end + 1]
    if before == "\\":
        return found[0]
    if found[0] == "`" and before.isalpha() and after.isalpha():
        # Some write it for an apostrophe.
        return "'"
    # `2 * 3` and `2*3` are sums; "" is the end of the text, and no space.
    alone = (before.isspace() and after.isspace()) or (before.isdigit() and after.isdigit())
    return found[0] if alone else ""


class Phrases:
    """Finds whole phrases in texts, however they are written."""

    def __init__(self, phrases: Iterable[str]) -> None:
        """`phrases`: any spelling will do; those with nothing to read in them are left out."""
        plain = dict.fromkeys(filter(None, map(normal, phrases)))
        self._pattern = re.compile("|".join(map(_whole, plain)) or r"(?!)")

    def end_in(self, text: str) -> int | None:
        """Where the first phrase in a text ends, in characters of `normal(text)`; None = it holds none."""
        plain = normal(text)
        for found in self._pattern.finditer(plain):
            # Accents and vowel signs are part of a word too, and `\w` does not know them.
            start, end = found.span()
            begun = start > 0 and _is_sign(plain[start - 1]) and not _OPEN.match(plain[start])
            goes_on = end < len(plain) and _is_sign(plain[end]) and not _OPEN.match(plain[end - 1])
            if not begun and not goes_on:
                return end
        return None

    def __contains__(self, text: str) -> bool:
        """Whether a text holds one of the phrases."""
        return self.end_in(text) is not None


def _is_sign(character: str) -> bool:
    return unicodedata.category(character).startswith("M") and not _OPEN.match(character)


def _whole(phrase: str) -> str:
    """Pattern of a phrase that is not part of a longer word, where its script parts words at all."""
    # A letter of an open script beside it is no part of its word: a Latin word may stand in Chinese text.
    word = rf"(?:(?![{_OPEN_SCRIPTS}])\w)"
    before = rf"(?<!\w)|(?<=[{_OPEN_SCRIPTS}])"
    start = "" if _OPEN.match(phrase[0]) else rf"(?:{before})"
    end = "" if _OPEN.match(phrase[-1]) else rf"(?!{word}|')"
    return f"{start}{re.escape(phrase)}{end}"


QUOTED = 12
"""Characters in a row that a message and a text have in common, if it quotes the text."""
MESSAGE = 500
"""Characters of a message that are read, and shown."""


def in_short(err: BaseException, private: Iterable[str]) -> str:
    """An error as it may be logged: its type, and its message unless that quotes what a user typed or a model said.

    Args:
        err: of a plugin, whose messages are not ours.
        private: texts that must not be quoted.
    """
    name, message = type(err).__name__, str(err)[:MESSAGE]
    read = normal(message)
    runs = [read[at : at + QUOTED] for at in range(max(len(read) - QUOTED, 0) + 1)]
    for text in map(normal, private):
        if text and (text in read if len(text) < QUOTED else any(len(run) == QUOTED and run in text for run in runs)):
            return f"{name} (its message quotes a text, and is left out)"
    return f"{name}: {message}"


# C0, DEL and C1; what reorders text or is never seen; separators of lines; halves of surrogate pairs, which no encoding
# can write. Not the joiners and variation selectors: words of some scripts, and emoji, need them.
STEERS = (
    r"\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f"
)
"""Characters that steer a terminal or reorder what a reader sees, as the inside of a class of a pattern."""
_ONE_LINE = re.compile(f"[{STEERS}]")
_LINES = re.compile(f"(?!\n)[{STEERS}]")


def visible(text: object, *, lines: bool = False) -> str:
    r"""Foreign text for a terminal or a page: what would steer it is escaped, `\x1b` for the escape character.

    Args:
        text: an id, a path, a prompt, an error: anything that this program did not write itself.
        lines: leave line feeds as they are, where the text is a paragraph of its own.
    """
    return (_LINES if lines else _ONE_LINE).sub(_escaped, str(text))


def _escaped(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]
