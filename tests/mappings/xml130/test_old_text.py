"""Text of old code pages is known, and no other text is taken for it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.xml130.old_text import is_old_text

VIETNAMESE = [
    "Nguyễn",
    "Trần",
    "Lê",
    "Phạm",
    "Hoàng",
    "Huỳnh",
    "Phan",
    "Vũ",
    "Võ",
    "Đặng",
    "Bùi",
    "Đỗ",
    "Hồ",
    "Ngô",
    "Dương",
    "Lý",
    "Quý",
    "Khuê",
    "Quyết",
    "Thúy",
    "Hòa",
    "Oanh",
    "Uyên",
    "Yến",
    "Nghiêm",
    "Giang",
    "Quỳnh",
    "Khuya",
    "Tuýp",
    "Khuỷu",
    "Nguyệt",
    "Loét",
    "Thuở",
    "Rượu",
    "Xuân",
    "viêm",
    "họng",
    "cấp",
    "đau",
    "bụng",
    "sốt",
    "ho",
    "khó",
    "thở",
    "tăng",
    "huyết",
    "áp",
    "đái",
    "tháo",
    "đường",
]


@pytest.mark.parametrize(
    "text",
    [
        "NguyÔn ThÞ MÉu", "NGUYÔN V¡N A", "TrÇn V¨n B×nh", "Lª ThÞ Hoa", "viªm häng cÊp",
        "Ho, sèt 2 ngµy", "®au ®Çu", "S¬n", "NGUYEÃN THÒ MAÃU", "Traàn Vaên Bình",
        "Vieâm hoïng caáp", "Ñau buïng",
    ],
)  # fmt: skip
def test_old_text_is_known(text):
    """TCVN3 and VNI."""
    assert is_old_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "Ho khan", "Ngô Văn", "Trân", "Lê Thanh Bình", "Là A", "Lò A Páo", "Tô Hoài",
        "Müller Jürgen", "François Noël", "José García", "Citroën", "Peña", "Øystein Åse",
        "René Chloé", "Café", "10 µg/mL", "Panadol® 500", "37°C ± 0,5", "½ viên", "cm²", "«abc»",
        "Béo phì", "Xoèn", "日本", "Владимир",
    ],
)  # fmt: skip
def test_other_text_is_not(text):
    """Vietnamese, other languages, units and signs pass."""
    assert not is_old_text(text)


@given(st.lists(st.sampled_from(VIETNAMESE), min_size=1, max_size=6))
def test_vietnamese_words_pass_alone_and_together(words):
    """No choice of true words is taken for old text, whatever the case."""
    text = " ".join(words)

    assert not is_old_text(text)
    assert not is_old_text(text.upper())


def test_long_text_costs_little():
    """Words without end and texts of millions of foreign words are no work."""
    started = time.process_time()

    assert not is_old_text("é" * 3_000_000)
    assert not is_old_text(" ".join(f"zé{n}" for n in range(300_000)))
    assert time.process_time() - started < 3
