"""Know text of an old Vietnamese code page (TCVN3, VNI) that came dressed as Unicode.

Trap (e) of domain section 10: such text is refused, never guessed. A word counts as old text where
it is no Vietnamese syllable as it stands, and is one when its signs are read as TCVN3 or VNI.
Words of other languages pass. UTF-8 read as another code page is `misdecoded`'s.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import islice
from typing import Final

_MODERN: Final = re.compile("[ăĂđĐơƠưƯĩĨũŨ\u1ea0-\u1ef9]")
"""Letters that only true Unicode Vietnamese has: neither code page looks like them."""

_WORD: Final = re.compile(r"[^\s\d,.;:()/+=\-–\"'<>\[\]*?!%&_|]+")

_MOST_WORDS: Final = 500
"""Old text shows itself in its first words; a long text of another language costs no more."""

_LONGEST_WORD: Final = 16
"""No Vietnamese syllable is longer, even with every sign a letter of its own."""

_TONES: Final = dict.fromkeys([0x300, 0x301, 0x303, 0x309, 0x323])
_ONSETS: Final = "ngh|ng|nh|gh|gi|kh|ph|th|tr|ch|qu|q|b|c|d|đ|g|h|k|l|m|n|p|r|s|t|v|x"
_RHYMES: Final = (
    "a[ciumnopty]?|ach|ang|anh|ă[cmnpt]|ăng|â[cmnptuy]|âng|e[cmnopt]?|eng|ê[mnptu]?|êch|ênh|"
    "i[amnptu]?|ich|inh|iê[cmnptu]|iêng|o[cimnpt]?|ong|oa[ciymnopt]?|oach|oang|oanh|oă[cmnt]|oăng|"
    "oe[mnot]?|ooc|oong|ô[cimnpt]?|ông|ơ[imnpt]?|u[acimnpt]?|ung|uâ[nty]|uâng|uê|uêch|uênh|uô[cimnt]|"
    "uông|uơ|uy[atnpu]?|uych|uynh|uyê[nt]|ư[acimntu]?|ưng|ươ[cimnptu]|ương|y|yê[mntu]|yêng"
)
_SYLLABLE: Final = re.compile(f"(?:{_ONSETS})?(?:{_RHYMES})")

# The code pages, by the letters that their bytes look like in Windows-1252.
_TCVN3: Final = str.maketrans(
    "¡¢£¤¥¦§¨©ª«¬\xad®µ¶·¸¹»¼½¾ÆÇÈÉÊËÌÎÏÐÑÒÓÔÕÖ×ØÜÝÞßáâãäåæçèéêëìíîïñòóôõö÷øùúûüýþ",
    "ăâêôơưđăâêôơưđàảãáạằẳẵắặầẩẫấậèẻẽéẹềểễếệìỉĩíịòỏõóọồổỗốộờởỡớợùủũúụừửữứựỳỷỹýỵ",
)
_VNI_PAIRS: Final[dict[str, str]] = {
    "a": "ùáøàûảõãïạââáấàầåẩãẫäậêăéắèằúẳüẵëặ",
    "e": "ùéøèûẻõẽïẹâêáếàềåểãễäệ",
    "o": "ùóøòûỏõõïọâôáốàồåổãỗäộ",
    "u": "ùúøùûủõũïụ",
    "y": "ùýøỳûỷõỹ",
    "ô": "ùớøờûởõỡïợ",
    "ö": "ùứøừûửõữïự",
}
_VNI_SINGLE: Final = str.maketrans("ôöæóòîñ", "ơưỉĩịỵđ")
_VNI: Final[dict[str, str]] = {
    base + marks[at]: marks[at + 1]
    for base, marks in _VNI_PAIRS.items()
    for at in range(0, len(marks), 2)
}


def is_old_text(text: str) -> bool:
    """Whether the text holds words of TCVN3 or VNI."""
    if text.isascii() or _MODERN.search(text):
        return False
    words = (found[0] for found in _WORD.finditer(text) if not found[0].isascii())
    return any(
        _is_old_word(word) for word in islice(words, _MOST_WORDS) if len(word) <= _LONGEST_WORD
    )


@lru_cache(maxsize=4096)
def _is_old_word(word: str) -> bool:
    lower = word.lower()
    if (not lower[:1].isalpha() and lower[:1] not in "®§") or is_syllable(lower):
        return False
    read = {_vni(lower), word.translate(_TCVN3).lower(), lower.translate(_TCVN3)}
    return any(is_syllable(candidate) for candidate in read)


def _vni(word: str) -> str:
    """Return a word read as VNI: a letter and the sign after it are one letter."""
    letters: list[str] = []
    at = 0
    while at < len(word):
        pair = word[at : at + 2]
        letters.append(_VNI.get(pair) or word[at].translate(_VNI_SINGLE))
        at += 2 if pair in _VNI else 1
    return "".join(letters)


def is_syllable(word: str) -> bool:
    """Whether a lower-case word is built as a Vietnamese syllable with at most one tone."""
    split = unicodedata.normalize("NFD", word)
    if sum(ord(sign) in _TONES for sign in split) > 1:
        return False
    toneless = unicodedata.normalize("NFC", split.translate(_TONES))
    return _SYLLABLE.fullmatch(toneless) is not None
