"""Text that was found, made harmless: data that no model takes for a turn, an order or a mark.

What chat templates and our own prompt give meaning to is rewritten: special tokens and tags
(`<|im_start|>`, `<image>`, `</s>`, `[INST]`), roles at the beginning of a line (`system:`),
citation marks, pictures and links by address in Markdown, characters that show nothing or turn
others around. The words stay, to be read and quoted. It goes between lines with a mark that depends
on all that is between them, so that no text can hold it (as "spotlighting" does: Hines et al. 2024,
arXiv:2403.14720).

It fetches nothing and judges nothing: what a text wants is not asked.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

_ANGLES = str.maketrans({"<": "\u2039", ">": "\u203a", "\uff1c": "\u2039", "\uff1e": "\u203a"})
_BRACKETED = re.compile(
    r"[\[\u3010]\s*((?:/?[A-Z][A-Z_ ]{1,30}|\^?\d[\d\s,;^\u2013-]*))\s*[\]\u3011]"
)
_ROLE = re.compile(
    r"^([^\w\n]*)(system|assistant|user|human|ai|bot|tool|developer|instructions?|response|"
    r"observation|function)[^\w\n:\uff1a]*[:\uff1a]+(?:[^\w\n]*[:\uff1a])?",
    re.IGNORECASE | re.MULTILINE,
)
_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\(([^()\n]*)\)")
_LINKING = re.compile(r"!\[|\](?=\s*[(\[:])")  # what is left of them: nested ones, references
_FENCE_LIKE = re.compile(r"(?:={3,}|-{4,}|`{3,}|#{3,}|~{3,}|\u2039{2,}|\u203a{2,})")
_UNPLAIN = re.compile(r"[^\x20-\x7e\n\t]")


def harmless(text: str) -> str:
    """The same words, with nothing in them that a template, a prompt or a page would act on."""
    text = _FENCE_LIKE.sub(" ", _UNPLAIN.sub(_shown, text).translate(_ANGLES))
    text = _LINK.sub(r"\1 (\2)", _BRACKETED.sub(r"(\1)", text))
    return _LINKING.sub(_unlinked, _ROLE.sub(r"\1(\2)", text)).strip()


def mark_of(seed: int, texts: Iterable[str]) -> str:
    """Twelve hex digits that no text among `texts` can foresee, as all of them decide it."""
    digest = hashlib.sha256(str(seed).encode())
    for text in texts:
        digest.update(b"\x1f" + text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:12]


def fenced(text: str, mark: str) -> str:
    """Between two lines with the mark, every line of it behind a bar."""
    quoted = "\n".join(f"| {line}" for line in text.splitlines())
    return f"=== evidence {mark} begins ===\n{quoted}\n=== evidence {mark} ends ==="


def _unlinked(found: re.Match[str]) -> str:
    return ")" if found.group() == "]" else "! ["


def _shown(found: re.Match[str]) -> str:
    category = unicodedata.category(found.group())
    if category in ("Zl", "Zp"):
        return "\n"
    return "" if category in ("Cc", "Cf", "Cs", "Co", "Cn") else found.group()
