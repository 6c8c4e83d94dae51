"""Know UTF-8 that was read as Windows-1252, Windows-1258 or Latin-1, whole or with letters lost.

Trap (e) of domain section 10: "ViÃªm há»ng" is refused, never mended: of `ignore` and `replace`,
with which such text is often made, letters are lost for good. What true text has nowhere is
proof enough: a sign where only a letter can follow. What true text may have, such as an `Ã` before
a no-break space or a closing quote, counts only where it makes Vietnamese of the whole text.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import Final

from mappings.xml130.old_text import is_syllable

_REPLACED: Final = "\ufffd"

_SUSPECT: Final = re.compile("[\x80-\xbf\ufffdÃĂÄÆÌ€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]")
"""A sign that a byte of 80 to BF looks like, or a letter whose sign may have been lost."""

_C1: Final = "\x80-\x9f"
_LETTERS: Final = [
    chr(code) for code in (*range(0x41, 0x7B), *range(0xC0, 0x1B1), *range(0x1EA0, 0x1EFA))
]
_LOWER: Final = "".join(filter(str.islower, _LETTERS))
_UPPER: Final = "".join(filter(str.isupper, _LETTERS))
_GRAVE: Final = "".join(one for one in _LETTERS if "\u0300" in unicodedata.normalize("NFD", one))

_NOWHERE: Final = re.compile(
    "|".join((
        # E1 BA and E1 BB: every letter from U+1E80 to U+1EFF.
        "[áÁ]º",
        # C3: à to ý and their capitals. Not quotes, dots and no-break spaces, which text may have.
        f"[ÃĂ][{_C1}¡-ª¬-º¼-¿€‚ƒˆ‰ŠŒŽ™šœžŸ]",
        # C4: ă, đ, ĩ. C5: ũ. C6: ơ, ư.
        f"Ä[{_C1}‚ƒ¨©]|Ä‘(?=\\w)|Å[¨©]|Æ[¡¯°]",
        # C2: signs such as ° and µ. E2 80: quotes and dashes.
        f"Â[{_C1}¡-ª¬-º¼-¿]|â[€\x80]",
        # CC: a tone or mark of its own, U+0300 to U+0331; Windows-1258 reads CC as a grave.
        f"Ì[{_C1}€‚ƒ†‰£]|[\u0300{_GRAVE}][\x81€‚ƒ‰£]",
        # A capital in the middle of a word, its sign lost or a space.
        f"[{_LOWER}][ÃĂÌ](?![{_UPPER}])",
        # The sign of Á or Í lost before a final that ã and ă never have; "QĐ" without its own.
        r"ĂNH(?!\w)|[ÃĂ]CH(?!\w)|Ã[CPT](?!\w)|QÄ(?!\w)",
        # "HÃ ng": what follows is the end of a syllable, and no word.
        r"[ÃĂ][ \xa0](?:ng|nh|[imn])(?!\w)",
        # "SÆ N" of SƠN.
        r"(?<=[A-Z])Æ[ \xa0][IMNPT](?!\w)",
    ))
)  # fmt: skip
"""What stands in no text of any language."""

_QUOTED: Final = re.compile("[áÁ]»")
_LOST_D: Final = re.compile(r"\bÄ([^\W\d_]{1,6})\b")


_OURS: Final = re.compile(
    "[\x00-\x7f\xa0-\xbfÀ-ÃÈ-ÊÌÍÒ-ÕÙÚÝà-ãè-êìíò-õùúýĂăĐđĨĩŨũƠơƯưẠ-ỹ"
    "\u0300\u0301\u0302\u0303\u0306\u0309\u031b\u0323‐-…]*"
)
"""Text of the signs that Vietnamese is written with."""


def _code_page(name: str) -> dict[int, int]:
    """Return the map from sign to byte; a byte without a sign is the control character."""
    signs = (bytes((byte,)).decode(name, "ignore") or chr(byte) for byte in range(256))
    return {ord(sign): byte for byte, sign in enumerate(signs)}


_CODE_PAGES: Final = tuple(_code_page(name) for name in ("cp1252", "cp1258", "latin-1"))


def is_misdecoded(text: str) -> bool:
    """Whether the text holds UTF-8 read as another code page, or a sign of letters lost.

    Args:
        text: As received: the control characters and spaces that cleaning takes away tell too.
    """
    if not _SUSPECT.search(text):
        return False
    return (
        _REPLACED in text
        or _NOWHERE.search(text) is not None
        or _closes_no_quote(text)
        or _is_vietnamese_once_more(text)
        or any(is_syllable("đ" + found[1].lower()) for found in _LOST_D.finditer(text))
    )


def _closes_no_quote(text: str) -> bool:
    """Whether `á»` stands where no quotation ends: E1 BB begins the letters ế to ỹ."""
    found = _QUOTED.search(text)
    return found is not None and not re.search("[«»]", text[: found.start()])


def _is_vietnamese_once_more(text: str) -> bool:
    for code_page in _CODE_PAGES:
        try:
            again = codecs.charmap_encode(text, "strict", code_page)[0].decode("utf-8")
        except (UnicodeEncodeError, UnicodeDecodeError):
            continue
        # Pairs such as the "ÍŠ" of MNÍŠEK are UTF-8 too, but of no sign that is written here.
        if _OURS.fullmatch(again) and all(map(_is_one_case, again.split())):
            return True
    return False


def _is_one_case(word: str) -> bool:
    """Whether a word is written as words are: "BUNàZIUA" is an `Ă` before a no-break space."""
    return (
        word.isascii() or word.islower() or word.isupper() or word.istitle()
        or word.upper() == word.lower()
    )  # fmt: skip
