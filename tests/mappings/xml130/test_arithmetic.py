"""The decree's arithmetic, on its own worked example and on its laws."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from mappings.xml130.arithmetic import Line, splits, wrong_in_line, wrong_sums

ZERO = Decimal(0)
LINE = Line(
    table="XML2", group="4", payment_method="1", quantity=Decimal(3), price=Decimal("333.333"),
    insured_price=Decimal("333.333"), ratio=Decimal(100), service_ratio=None, level=Decimal(80),
    thanh_tien_bv=Decimal("1000.00"), thanh_tien_bh=Decimal("1000.00"), sources=(ZERO,) * 4,
    t_nguonkhac=ZERO, t_bntt=ZERO, t_bncct=Decimal("200.00"), t_bhtt=Decimal("800.00"),
)  # fmt: skip
MONEY = st.decimals(0, 10**9, places=2)


def test_a_rounded_line_is_right():
    """3 times 333.333 is 1000.00, rounded half up to two places."""
    assert wrong_in_line(LINE) == ()


def test_a_cent_is_tolerated_and_two_are_not():
    """The tolerance is 0.01 a line."""
    assert wrong_in_line(replace(LINE, t_bhtt=Decimal("800.01"))) == ()
    assert wrong_in_line(replace(LINE, t_bhtt=Decimal("800.02"))) == (
        ("T_BHTT", Decimal("800.02"), Decimal(800)),
    )


def test_an_empty_figure_makes_no_finding():
    """What is not there cannot be wrong; that it is missing is another rule."""
    bare = Line("XML3", "1", "1", *(None,) * 8, (None,) * 4, None, None, None, None)

    assert wrong_in_line(bare) == ()
    assert wrong_sums([bare], {"T_TONGCHI_BV": ZERO, "T_BHTT": ZERO, "T_BHTT_GDV": ZERO}) == ()


@given(bh=MONEY, outside=MONEY, other=MONEY, level=st.sampled_from([0, 32, 80, 95, 100]))
def test_the_shares_and_the_other_source_make_up_the_cost(bh, outside, other, level):
    """THANH_TIEN_BV = T_BHTT + T_BNCCT + T_BNTT + T_NGUONKHAC, as far as the source reaches."""
    bv = bh + outside
    aid = min(other, bv)

    (case_a, *case_b) = splits(bv, bh, Decimal(level), aid)

    assert sum(case_a, ZERO) + aid == bv
    if aid <= outside:
        assert all(sum(split, ZERO) + aid == bv for split in case_b)
