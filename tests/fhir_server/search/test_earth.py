"""Places on the earth: distances, and the cells that cover a circle."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fhir_server.search.earth import (
    DEFAULT,
    MOST_CELLS,
    asked_near,
    cell,
    cells,
    distance,
    is_near,
)
from fhir_server.search.expression import Near

LATITUDES = st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, -89.999, 0.0, 89.999, 90.0]))
LONGITUDES = st.one_of(
    st.floats(-180, 180), st.sampled_from([-180.0, -179.999, 0.0, 179.999, 180.0])
)
METRES = st.one_of(st.floats(0, 100), st.floats(100, 3e7), st.sampled_from([0.0, 2e7]))
SHARES = st.one_of(st.floats(-1, 1), st.sampled_from([-1.0, 0.0, 1.0]))


@pytest.mark.parametrize(
    ("here", "there", "metres"),
    [
        ((0.0, 0.0), (0.0, 180.0), 20_015_115),
        ((90.0, 12.0), (-90.0, 99.0), 20_015_115),
        ((21.0285, 105.8542), (10.7769, 106.7009), 1_143_548),
        ((0.0, 179.5), (0.0, -179.5), 111_195),
        ((90.0, 0.0), (90.0, 77.0), 0),
    ],
)
def test_distances(here: tuple[float, float], there: tuple[float, float], metres: float) -> None:
    """Great circles, over the date line and the poles; Hà Nội to Hồ Chí Minh City is 1,144 km."""
    assert distance(*here, there) == pytest.approx(metres, rel=1e-4, abs=1e-3)


@given(LATITUDES, LONGITUDES, METRES, SHARES, SHARES)
@example(-16.8, 180.0, 5000.0, 0.0, -0.3)
@example(89.99, 10.0, 5000.0, 1.0, 0.0)
@example(90.0, 0.0, 0.0, 0.0, 1.0)
def test_what_is_near_is_in_a_cell_that_covers(
    latitude: float, longitude: float, metres: float, north: float, east: float
) -> None:
    """No place within the circle is outside its cells, which are few."""
    asked = Near("near", latitude, longitude, metres)
    degrees = metres / 111_195
    other = max(-90.0, min(90.0, latitude + north * degrees))
    wide = min(180.0, degrees / max(1e-3, 1 - abs(other) / 90))
    place = (other, (longitude + east * wide + 180) % 360 - 180)

    covering = cells(asked)

    assert len(covering) <= MOST_CELLS
    assert len(set(covering)) == len(covering)
    if is_near(asked, *place):
        assert any(cell(*place).startswith(one) for one in covering)


def test_a_small_circle_has_small_cells() -> None:
    """Of a kilometre in a city no more than some kilometres are looked at."""
    covering = cells(Near("near", 21.03, 105.85, 1000))

    assert min(map(len, covering)) >= 12
    assert not any(cell(21.2, 105.85).startswith(one) for one in covering)


def test_the_date_line_has_two_names() -> None:
    """180 degrees east and west are one place."""
    assert cell(5.0, 180.0) == cell(5.0, -180.0)


@pytest.mark.parametrize(
    ("value", "metres"),
    [
        ("21|105", DEFAULT),
        ("21|105||", DEFAULT),
        ("21|105|", DEFAULT),
        ("21|105|2", 2000),
        ("21|105|2|", 2000),
        ("21|105|2|km", 2000),
        ("21|105|2.5|m", 2.5),
        ("21|105|1|[mi_i]", 1609.344),
        ("21|105|3937|[mi_us]", 6_336_000),
        ("21|105|1|[nmi_i]", 1852),
        ("21|105|1e1|m", 10),
    ],
)
def test_a_distance_has_a_unit(value: str, metres: float) -> None:
    """Kilometres where none is said; UCUM's units of length."""
    asked = asked_near("near", value.split("|"))

    assert (asked.latitude, asked.longitude) == (21.0, 105.0)
    assert asked.metres == pytest.approx(metres)
