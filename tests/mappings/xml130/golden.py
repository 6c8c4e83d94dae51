"""The golden dossiers: `python -m tests.mappings.xml130.golden` writes them again, for review."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from adapters.xml130.parse import parse
from fhir_server.model import codec
from mappings.xml130.to_bundle import to_bundle
from tests.xml130 import costs, dossier, envelope, rows, visit

DATA: Final = Path(__file__).parents[2] / "data"
RECORDED: Final = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
NO_CARD: Final = dict.fromkeys(("MA_THE_BHYT", "MA_DKBD", "GT_THE_TU", "GT_THE_DEN"), "")

DOSSIERS: Final = {
    "insured-visit": dossier(
        visit(NGAY_TAI_KHAM="20261204", MA_BENH_KT="E11.9", GHI_CHU="Uống nước", **costs(2, 2)),
        xml2=rows("XML2", 2),
        xml3=[
            rows("XML3", 1)[0],
            {**rows("XML3", 1)[0], "STT": "2", "MA_NHOM": "13", "TEN_DICH_VU": "Khám Nội"},
        ],
        xml4=rows("XML4", 1),
        xml5=rows("XML5", 1),
    ),
    "uninsured-visit": dossier(
        visit(
            MA_LK="LK-2026-000002", MA_BN="BN-2", SO_CCCD="C1234567", HO_TEN="LÊ VĂN LẠ",
            NGAY_SINH="195800000000", GIOI_TINH="1", MA_DOITUONG_KCB="9", T_TONGCHI_BV="150000",
            T_BNTT="150000", **NO_CARD,
        )
    ),
    "operation": dossier(
        visit(
            MA_LK="LK-2026-000003", MA_LOAI_KCB="03", MA_DOITUONG_KCB="2", NGAY_VAO="202611100815",
            NGAY_VAO_NOI_TRU="202611100900", LY_DO_VNT="Đau hố chậu phải", NGAY_RA="202611150900",
            SO_NGAY_DTRI="6", MA_BENH_CHINH="K35.8", CHAN_DOAN_RV="Viêm ruột thừa cấp",
            MA_BENH_KT="B24", NHOM_MAU="O Rh+", MA_LOAI_RV="5", MA_NOI_DEN="79999", **costs(0, 2),
        ),
        xml3=[
            {
                **rows("XML3", 1)[0], "MA_NHOM": "8", "TEN_DICH_VU": "Phẫu thuật cắt ruột thừa",
                "MA_PTTT_QT": "47.01", "PP_VO_CAM": "1", "MA_BENH": "K35.8",
                "NGAY_YL": "202611100930", "NGAY_TH_YL": "202611101000", "NGAY_KQ": "202611101100",
            },
            {
                **rows("XML3", 1)[0], "STT": "2", "MA_NHOM": "15", "TEN_DICH_VU": "Giường nội trú",
                "MA_GIUONG": "H001", "MA_BENH": "K35.8", "NGAY_YL": "202611101200",
            },
        ],
    ),
}  # fmt: skip
"""The dossiers by name, synthetic."""


def bundle_of(body: bytes) -> bytes:
    """Return the Bundle of the one dossier in an envelope, as the golden file holds it."""
    record = parse(body).dossiers[0].record
    if record is None:
        raise ValueError("The golden dossier cannot be read.")
    return codec.dumps(to_bundle(record, recorded=RECORDED, source="golden#1").bundle, pretty=True)


def main() -> None:
    """Write the XML envelopes and their Bundles under tests/data."""
    for name, content in DOSSIERS.items():
        body = envelope([content])
        (DATA / "xml130" / f"{name}.xml").write_bytes(body)
        (DATA / "golden" / f"{name}.json").write_bytes(bundle_of(body) + b"\n")


if __name__ == "__main__":
    main()
