"""UTF-8 read as another code page is known, and no true text of any language is taken for it."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.xml130.build import build_row
from mappings.xml130.misdecoded import is_misdecoded

TRUE = [
    "Nguyễn Thị Mẫu", "VŨ ĐỨC ANH", "LÊ HOÀNG LONG", "Đặng Ngọc Ánh", "Bùi Ỷ Lan", "ĐỖ THỊ Ơn",
    "H'Hen Niê", "Y Moan Ênuôl", "K’Brôi", "Lò A Páo", "Trần Lã", "MÃ VĂN XÃ", "Hà",
    "Viêm họng cấp", "Tăng huyết áp", "Đau bụng", "Đái tháo đường", "Sốt 39°C, ho 3 ngày",
    "Hội chứng “ruột kích thích”", "Đã mổ – ổn định…", "Nhồi máu cơ tim cũ; mã ICD: I25.2",
    "Gãy kín 1/3 dưới xương đùi (P)", "Viêm gan B mạn", "Rối loạn lipid máu", "U não", "Ung thư vú",
    "Thoái hóa khớp gối", "Trĩ độ II", "Chửa trứng", "Ngã cao", "Tiêu chảy, mất nước độ A",
]  # fmt: skip
"""Names and diagnoses as they are written."""

OTHERS = [
    "François Noël", "Éloïse Châtelain", "René d’Orléans", "«Voilà»", "Où ça ?", "Cœur, Œdème",
    "Müller Jürgen", "Ärztin Käthe Weiß", "Änne Groß", "KÄSE", "„Übel“", "»Äpfel«", "Äijälä",
    "Dvořák Jiří", "POSPÍŠIL", "MNÍŠEK", "HOLÝŠOV", "Tomáš\xa0Holub", "Lukáš\xa0Musil", "ŽIŽKA",
    "José García", "«está»", "João Conceição", "IRMÃ", "SÃO JOÃO", "MANHÃ", "Ştefan Brăila",
    "BUNĂ\xa0ZIUA", "SĂ", "Øystein Åse", "KNÆ", "Łukasz Żółć", "Gülşen Şahin",
    "XÃ\xa0TÂN BÌNH", "XÃ TÂN", "XÃ\xa0tân bình", "“THỊ XÃ”", "‘XÃ’", "XÃ – HUYỆN", "XÃ…",
    "“NGÃ”", "«LÁ»", "lá «non»", "đã…", "ĐÃ\xa0MỔ", "10 µg/mL ± 0,5", "Panadol® 500",
    "½ viên", "cm²", "37 °C", "α-thalassemia", "Владимир", "日本", "한국", "ไทย", "👶", "1ª, 2º",
]  # fmt: skip
"""Other languages, quotations, units and signs."""


def _read(text: str, code_page: str, errors: str) -> str:
    """Return UTF-8 read as a code page; as browsers do it where `errors` is empty."""
    data = text.encode()
    if errors:
        return data.decode(code_page, errors)
    return "".join(bytes((b,)).decode(code_page, "ignore") or chr(b) for b in data)


@pytest.mark.parametrize("text", TRUE + OTHERS)
def test_true_text_passes(text: str) -> None:
    """True text passes, in capitals and small letters too, composed or not."""
    for written in (text, text.upper(), text.lower()):
        assert not is_misdecoded(written)
        assert not is_misdecoded(unicodedata.normalize("NFD", written))


@pytest.mark.parametrize(
    ("code_page", "errors"),
    [
        ("latin-1", "strict"), ("cp1252", ""), ("cp1252", "replace"), ("cp1252", "ignore"),
        ("cp1258", ""), ("cp1258", "replace"), ("cp1258", "ignore"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("text", [one for one in TRUE if not one.isascii()])
def test_misread_text_is_known(text: str, code_page: str, errors: str) -> None:
    """Read as another code page, with what has no sign kept, replaced or lost."""
    read = _read(text, code_page, errors)

    assert is_misdecoded(read)


@pytest.mark.parametrize(
    "text",
    [
        "LÃª HoÃ\xa0ng Long", "LÃª HoÃ ng Long", "VÅ¨ Äá»¨C ANH", "ViÃªm há»\x8dng cáº¥p",
        "ViÃªm há»ng cáº¥p", "Ä\x90au bá»¥ng", "Äau", "ÄINH VAN A", "Nguyá»\x85n Thá»\x8b Máº«u",
        "TÄƒng huyáº¿t Ă¡p", "há»ng", "HÃ ng", "NGÃ” THANH", "HÃ\xa0", "SÆ\xa0N", "SÆ N",
        "37Â°C", "â€œViÃªmâ€\x9d", "MÃ¼ller", "FranÃ§ois", "Nguy\ufffdn", "KHÃCH", "CHĂNH",
        "Bình thường. Sốt 39Â°C", "Trần Văn TÃ¡m", "toaÌn", "Toà\x81n",
    ],
)  # fmt: skip
def test_misread_text_is_known_with_little_to_go_by(text: str) -> None:
    """One misread word in a true text is enough, and one whose signs were dropped on the way."""
    assert is_misdecoded(text)


@given(st.text("àáảãạăằắẳẵặâầấẩẫậđèéẻẽẹêềếểễệìíỉĩịòóỏõọôồốổỗộơờớởỡợùúủũụưừứửữựỳýỷỹỵ", min_size=1))
def test_no_letter_is_missed(letters: str) -> None:
    """Whatever the letters, small or capital, text that lost nothing is known."""
    for text in (letters, letters.upper()):
        for code_page in ("latin-1", "cp1252", "cp1258"):
            assert is_misdecoded(_read(text, code_page, ""))
        assert not is_misdecoded(text)


def test_a_row_is_judged_as_it_was_sent() -> None:
    """Control characters and outer spaces are judged before they are cleaned away."""
    for text in ("HÃ\xa0", "Ä\x90", "há»\x8dng", "Nguy\ufffdn"):
        row = build_row("XML1", 1, {"HO_TEN": text})
        assert [flaw.what for flaw in row.flaws] == ["code-page"]


def test_long_text_costs_little() -> None:
    """The look is linear, whatever is sent."""
    started = time.process_time()

    for text in (
        "Ã" * 900_000,
        "à»" * 450_000,
        "Ä" + "a" * 900_000,
        "XÃ\xa0" * 300_000,
        "«á»" * 300_000,
    ):
        is_misdecoded(text)
    assert time.process_time() - started < 3
