"""What a dossier becomes: each resource, the traps of domain section 10, the laws of mapping."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adapters.xml130.parse import parse
from fhir_server.model import codec
from fhir_server.model.identifiers import (
    BHYT,
    CCCD,
    CMND,
    MA_CSKCB,
    MA_LK,
    NS,
    PAPER,
    PASSPORT,
    PAYER,
    code_system,
    extension,
)
from fhir_server.model.reference import walk
from fhir_server.validation.structure import validate
from mappings.xml130.build import build
from mappings.xml130.record import Kind
from mappings.xml130.rules import check
from mappings.xml130.tables import TABLES
from mappings.xml130.to_bundle import Mapped, to_bundle
from tests.xml130 import XML1, XML4, costs, dossier, envelope, rows, visit

RECORDED = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
NO_CARD = dict.fromkeys(("MA_THE_BHYT", "MA_DKBD", "GT_THE_TU", "GT_THE_DEN"), "")


def mapped(summary: dict[str, str], kind: Kind = "xml", **tables: Any) -> Mapped:
    lines = {name.upper(): value for name, value in tables.items()}
    record = build({"XML1": [summary], **lines})
    return to_bundle(record, recorded=RECORDED, source="s#1", kind=kind)


def resources(summary: dict[str, str], kind: Kind = "xml", **tables: Any) -> dict[str, Any]:
    """Return the resources by key, each of them valid, with references shown as keys."""
    result = mapped(summary, kind, **tables)
    entries = result.bundle["entry"]
    keys = {entry["fullUrl"]: key for entry, key in zip(entries, result.keys, strict=True)}
    shown = {}
    for entry, key in zip(entries, result.keys, strict=True):
        resource = codec.loads(codec.dumps(entry["resource"]))
        assert [i for i in validate({**resource, "id": "x"}) if i.severity == "error"] == []
        for element in walk(resource):
            element["reference"] = keys[element["reference"]]
        shown[key] = resource
    return shown


def extensions(resource: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a resource's own extensions by name."""
    return {
        one["url"].removeprefix(extension("")): next(v for k, v in one.items() if k != "url")
        for one in resource.get("extension", [])
    }


def test_the_citizens_number_name_and_sex():
    """Fields 2, 3, 5: the number under S/cccd, the name whole and in parts, the gender."""
    patient = resources(visit())["Patient"]

    assert patient["identifier"][0]["system"] == CCCD
    assert patient["identifier"][0]["value"] == "001195012345"
    assert patient["identifier"][0]["type"]["coding"][0]["code"] == "NI"
    assert patient["name"] == [
        {
            "use": "official",
            "text": "NGUYỄN THỊ MẪU",
            "family": "NGUYỄN",
            "given": ["THỊ", "MẪU"],
        }
    ]
    assert patient["gender"] == "female"
    assert patient["birthDate"] == "1995-03-07"


@pytest.mark.parametrize(
    ("number", "system", "kind", "use"),
    [
        ("001195012345", CCCD, "NI", "official"),
        ("123456789", CMND, "NI", "old"),
        ("C1234567", PASSPORT, "PPN", None),
        ("AB123456", PAPER, "U", None),
    ],
)
def test_a_paper_is_kept_under_its_system(number, system, kind, use):
    """No field tells the kind of paper, its shape does; only twelve digits are S/cccd."""
    first = resources(visit(SO_CCCD=number))["Patient"]["identifier"][0]

    assert (first["system"], first["value"]) == (system, number)
    assert first["type"]["coding"][0]["code"] == kind
    assert first.get("use") == use


def test_the_facilitys_own_number_is_its_own():
    """MA_BN stands under a system of the facility, so that two facilities never share one."""
    numbers = {one["system"]: one["value"] for one in resources(visit())["Patient"]["identifier"]}

    assert numbers[f"{NS}/sid/ma-bn/01999"] == "BN-000001"
    assert numbers[BHYT] == "DN4010123456789"


@pytest.mark.parametrize(("code", "gender"), [("1", "male"), ("2", "female"), ("3", "unknown")])
def test_the_sexes(code, gender):
    """GIOI_TINH 1, 2, 3."""
    assert resources(visit(GIOI_TINH=code))["Patient"]["gender"] == gender


def test_trap_a_a_year_stays_a_year():
    """195800000000 is 1958, never 1958-01-01."""
    patient = resources(visit(NGAY_SINH="195800000000"))["Patient"]

    assert patient["birthDate"] == "1958"
    assert "_birthDate" not in patient


def test_a_time_of_birth_is_kept():
    """Where the time is known it stands in patient-birthTime at +07:00."""
    patient = resources(visit(NGAY_SINH="202611100425"))["Patient"]

    assert patient["birthDate"] == "2026-11-10"
    assert patient["_birthDate"]["extension"] == [
        {
            "url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime",
            "valueDateTime": "2026-11-10T04:25:00+07:00",
        }
    ]


def test_where_a_person_lives_and_comes_from():
    """Address with codes and the version of its province, ethnic group, nationality, phone."""
    patient = resources(visit(DIEN_THOAI="0900000000"))["Patient"]
    address = patient["address"][0]

    assert address["line"] == ["Số 1 phố Mẫu"]
    assert extensions(address)["province"] == {
        "system": code_system("ma-tinh"),
        "version": "2025-07-01",
        "code": "01",
        "display": "Thành phố Hà Nội",
    }
    assert extensions(address)["ward"]["code"] == "00004"
    assert extensions(patient)["ethnicity"]["display"] == "Kinh"
    assert patient["telecom"] == [{"system": "phone", "value": "0900000000"}]


def test_the_same_two_digits_were_another_province_before():
    """Domain 4.4: code 52 is Gia Lai since 01/07/2025, and was Bình Định before."""
    before = visit(MATINH_CU_TRU="052", NGAY_VAO="202506010800", NGAY_RA="202506010900")

    assert resources(visit(MATINH_CU_TRU="52"))["Patient"]["address"][0]["state"] == "Gia Lai"
    assert resources(before)["Patient"]["address"][0]["state"] == "Bình Định"


def test_trap_b_several_cards_are_several_coverages():
    """Each card has its Coverage, period, registered facility; the payer is BHXH."""
    found = resources(
        visit(
            MA_THE_BHYT="DN4010123456789;0123456789", MA_DKBD="01999;01998",
            GT_THE_TU="20260101;20261101", GT_THE_DEN="20261031;",
        )
    )  # fmt: skip
    first, second = found["Coverage/DN4010123456789"], found["Coverage/0123456789"]

    assert first["identifier"] == [{"system": BHYT, "value": "DN4010123456789"}]
    assert first["subscriberId"] == second["subscriberId"] == "0123456789"
    assert first["period"] == {"start": "2026-01-01", "end": "2026-10-31"}
    assert second["period"] == {"start": "2026-11-01"}
    assert first["payor"][0]["identifier"] == {"system": PAYER, "value": "BHXH"}
    assert first["beneficiary"]["reference"] == "Patient"
    registered = extensions(second)["primary-care-facility"]
    assert registered["identifier"] == {"system": MA_CSKCB, "value": "01998"}


def test_card_dates_in_the_wrong_order_are_kept_in_words():
    """A Period may not end before it starts, and the visit must still be stored."""
    found = resources(visit(GT_THE_TU="20261231", GT_THE_DEN="20260101"))
    coverage = found["Coverage/DN4010123456789"]

    assert coverage["period"] == {"start": "2026-12-31"}
    assert extensions(coverage)["card-dates"] == "2026-12-31/2026-01-01"


def test_a_citizen_number_as_card_is_no_insurance_number():
    """Accepted instead of the card since 15/08/2025; it holds no BHXH number."""
    found = resources(visit(MA_THE_BHYT="001195012345"))["Coverage/001195012345"]

    assert "subscriberId" not in found


def test_the_visit():
    """Fields 1, 7 to 16: identifier, class, type, reason, times, diagnosis, result, discharge."""
    found = resources(visit(MA_BENH_KT="E11.9;I10", PP_DIEU_TRI="Nội khoa", GHI_CHU="Uống nước"))
    encounter = found["Encounter"]

    assert encounter["identifier"][0] == {"system": MA_LK, "value": "01999|LK-2026-000001"}
    assert encounter["status"] == "finished"
    assert encounter["class"]["code"] == "AMB"
    assert encounter["type"][0]["coding"][0]["code"] == "01"
    assert encounter["reasonCode"] == [{"text": "Ho, sốt 2 ngày"}]
    assert encounter["period"] == {
        "start": "2026-11-20T08:15:00+07:00",
        "end": "2026-11-20T09:50:00+07:00",
    }
    assert [
        (d["condition"]["reference"], d["use"]["coding"][0]["code"], d["rank"])
        for d in encounter["diagnosis"]
    ] == [("Condition/main", "DD", 1), ("Condition/E11.9", "CM", 2), ("Condition/I10", "CM", 3)]
    codes = encounter["hospitalization"]["dischargeDisposition"]["coding"]
    assert [coding["code"] for coding in codes] == ["1", "home"]
    own = extensions(encounter)
    assert own["treatment-result"]["coding"][0]["code"] == "2"
    assert own["coverage-case"]["code"] == "1.1"
    assert own["treatment-method"] == "Nội khoa"
    assert own["advice"] == "Uống nước"
    assert encounter["serviceProvider"]["reference"] == "Organization/01999"
    assert found["Organization/01999"]["identifier"][0]["system"] == MA_CSKCB


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"MA_LOAI_KCB": "3"}, "IMP"),
        ({"MA_LOAI_KCB": "04"}, "SS"),
        ({"MA_LOAI_KCB": "06"}, "OBSENC"),
        ({"MA_LOAI_KCB": "11"}, "FLD"),
        ({"MA_LOAI_KCB": "12"}, "HH"),
        ({"MA_LOAI_KCB": "14"}, "VR"),
        ({"MA_DOITUONG_KCB": "2"}, "EMER"),
        ({"MA_DOITUONG_KCB": "2", "MA_LOAI_KCB": "03"}, "IMP"),
    ],
)
def test_the_class_of_a_visit(changed, code):
    """Domain 2.4: by visit form; an emergency of 01, 02, 09 is EMER."""
    assert resources(visit(**changed))["Encounter"]["class"]["code"] == code


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"MA_LOAI_RV": "2"}, "other-hcf"),
        ({"MA_LOAI_RV": "3"}, "aadvice"),
        ({"MA_LOAI_RV": "4"}, "aadvice"),
        ({"MA_LOAI_RV": "5"}, "other-hcf"),
        ({"KET_QUA_DTRI": "5"}, "exp"),
    ],
)
def test_how_a_patient_left(changed, code):
    """Field 16: HL7's disposition beside the decree's; a death is `exp`, and only proposed."""
    found = resources(visit(MA_NOI_DEN="79999", **changed))
    stay = found["Encounter"]["hospitalization"]

    assert stay["dischargeDisposition"]["coding"][1]["code"] == code
    assert stay["destination"]["identifier"] == {"system": MA_CSKCB, "value": "79999"}
    assert "deceasedDateTime" not in found["Patient"]


def test_trap_d_codes_are_read_in_capitals():
    """Blanks and lower case of an ICD-10 code are put right (and reported by the rules)."""
    main = resources(visit(MA_BENH_CHINH=" j02.9 "))["Condition/main"]

    assert [c["code"] for c in main["code"]["coding"]] == ["J02.9", "J02.9"]
    assert main["code"]["coding"][0]["system"] == "http://hl7.org/fhir/sid/icd-10"
    assert main["code"]["text"] == "Viêm họng cấp"


def test_a_dagger_is_not_part_of_hl7s_code():
    """A17.0† is A17.0 in HL7's system and stays whole in VN Core's."""
    main = resources(visit(MA_BENH_CHINH="A17.0†"))["Condition/main"]

    assert [c["code"] for c in main["code"]["coding"]] == ["A17.0", "A17.0†"]


def test_trap_f_times_are_vietnamese():
    """A time without a zone is at +07:00."""
    period = resources(visit(NGAY_VAO="202611200000"))["Encounter"]["period"]

    assert period["start"] == "2026-11-20T00:00:00+07:00"


def test_trap_h_one_key_at_two_facilities_is_two_visits():
    """The identifier holds both, and no URL is shared."""
    one, other = mapped(visit()), mapped(visit(MA_CSKCB="79999"))

    urls = [{entry["fullUrl"] for entry in m.bundle["entry"]} for m in (one, other)]
    assert not urls[0] & urls[1]


def test_trap_i_a_later_sending_has_the_same_urls():
    """The same key is the same Encounter, whatever changed in it."""
    one, other = mapped(visit(), xml2=rows("XML2", 2)), mapped(visit(LY_DO_VV="khác"))

    urls = [
        dict(zip(m.keys, (e["fullUrl"] for e in m.bundle["entry"]), strict=True))
        for m in (one, other)
    ]
    assert urls[0]["Encounter"] == urls[1]["Encounter"]
    assert "XML2/2" in urls[0]
    assert "XML2/2" not in urls[1]


def test_trap_j_a_withdrawal_is_never_mapped():
    """MA_DOITUONG_KCB 8 makes nothing."""
    with pytest.raises(ValueError, match="withdrawal"):
        mapped(visit(MA_DOITUONG_KCB="8"))


def test_trap_k_a_key_is_never_part_of_a_url_raw():
    """MA_LK may carry `/`, `|`, `?`; it stands in identifiers and escaped queries alone."""
    result = mapped(visit(MA_LK="a/b|c?d&e,f$g"))
    entry = dict(zip(result.keys, result.bundle["entry"], strict=True))["Encounter"]

    assert entry["resource"]["identifier"][0]["value"] == "01999|a/b|c?d&e,f$g"
    query = entry["request"]["ifNoneExist"]
    assert query.endswith("|01999%5C%7Ca%2Fb%5C%7Cc%3Fd%26e%5C%2Cf%5C%24g")
    assert "a/b" not in entry["fullUrl"]


def test_each_row_says_its_line():
    """Drugs, services, results and notes keep their table and STT, so that they can be ordered."""
    found = resources(
        visit(**costs(1, 1)),
        xml2=rows("XML2", 1, STT="07"),
        xml3=rows("XML3", 1),
        xml4=rows("XML4", 1),
        xml5=rows("XML5", 1),
    )

    for key in ("XML2/7", "XML3/1", "XML4/1", "XML5/1"):
        assert extensions(found[key])["line"] == key


def test_a_drug():
    """XML2: code and name, dose and use in words, route, quantity, order time and prescriber."""
    found = resources(visit(), xml2=rows("XML2", 1, SO_LUONG="10.500"))
    request = found["XML2/1"]

    assert request["medicationCodeableConcept"] == {
        "coding": [{"system": code_system("ma-thuoc"), "code": "40.48", "display": "Paracetamol"}],
        "text": "Paracetamol",
    }
    dosage = request["dosageInstruction"][0]
    assert dosage["text"] == "1 viên/lần * 2 lần/ngày * 5 ngày; Uống sau ăn"
    assert str(request["dispenseRequest"]["quantity"]["value"]) == "10.500"
    assert request["authoredOn"] == "2026-11-20T08:30:00+07:00"
    assert request["requester"]["reference"] == "Practitioner/000001/HNO-CCHN"
    assert extensions(request)["strength"] == "500mg"


def test_services_become_procedures_and_beds_do_not():
    """Operations (8), procedures (18) and other services are Procedure; beds and supplies cost."""
    lines = [
        {**rows("XML3", 1)[0], "STT": str(n), "MA_NHOM": group}
        for n, group in enumerate(["8", "18", "1", "15", "10", "12"], 1)
    ]
    found = resources(visit(), xml3=lines)

    assert [key for key in found if key.startswith("XML3")] == ["XML3/1", "XML3/2", "XML3/3"]
    operation = found["XML3/1"]
    assert operation["category"]["coding"][0]["code"] == "8"
    assert operation["performedPeriod"] == {
        "start": "2026-11-20T08:40:00+07:00",
        "end": "2026-11-20T09:00:00+07:00",
    }
    assert operation["reasonReference"] == [{"reference": "Condition/main"}]
    assert operation["performer"][0]["actor"]["reference"] == "Practitioner/000002/HNO-CCHN"
    assert len(found["Claim"]["item"]) == 6


def test_a_reason_that_is_no_diagnosis_of_the_visit_is_a_code():
    """MA_BENH of a service refers to the visit's Condition where it holds the code."""
    found = resources(visit(MA_BENH_KT="E11.9"), xml3=rows("XML3", 1, MA_BENH="E11.9;;R05"))

    assert found["XML3/1"]["reasonReference"] == [{"reference": "Condition/E11.9"}]
    assert found["XML3/1"]["reasonCode"][0]["coding"][0]["code"] == "R05"


def test_one_card_named_twice_is_one_coverage():
    """A card that stands twice in the list is one card."""
    found = mapped(visit(MA_THE_BHYT="DN4010123456789;DN4010123456789"))

    assert found.keys.count("Coverage/DN4010123456789") == 1


def test_a_result_keeps_every_digit():
    """XML4: 5.60 stays 5.60, with its unit and UCUM code."""
    result = resources(visit(), xml3=rows("XML3", 1), xml4=rows("XML4", 1))["XML4/1"]

    assert result["valueQuantity"] == {
        "value": Decimal("5.60"),
        "unit": "mmol/L",
        "system": "http://unitsofmeasure.org",
        "code": "mmol/L",
    }
    assert str(result["valueQuantity"]["value"]) == "5.60"
    assert result["code"]["coding"][0]["code"] == "GLU"
    assert result["category"][0]["coding"][0]["code"] == "laboratory"


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ({"GIA_TRI": "5,6"}, "5,6 mmol/L"),
        ({"GIA_TRI": "007"}, "007 mmol/L"),
        ({"GIA_TRI": "Âm tính", "DON_VI_DO": ""}, "Âm tính"),
        ({"GIA_TRI": "", "KET_LUAN": "Bình thường"}, "Bình thường"),
        ({"GIA_TRI": "", "MO_TA": "Tim không to"}, "Tim không to"),
        ({"GIA_TRI": "<0.5"}, "<0.5 mmol/L"),
    ],
)
def test_trap_g_a_result_that_is_no_number_stays_text(changed, value):
    """A decimal comma, a word, a comparison: text as it came, never a guess."""
    result = resources(visit(), xml4=rows("XML4", 1, **changed))["XML4/1"]

    assert result["valueString"] == value


def test_a_result_without_value_is_not_yet_one():
    """GIA_TRI and NGAY_KQ come empty first and are completed later."""
    found = resources(visit(), xml4=[{**XML4, "STT": "1", "GIA_TRI": "", "NGAY_KQ": ""}])

    assert not [key for key in found if key.startswith("XML4")]


def test_conclusion_and_description_stand_beside_the_value():
    """KET_LUAN is the interpretation, MO_TA a note."""
    result = resources(visit(), xml4=rows("XML4", 1, KET_LUAN="Cao", MO_TA="Đói"))["XML4/1"]

    assert result["interpretation"] == [{"text": "Cao"}]
    assert result["note"] == [{"text": "Đói"}]


def test_a_note_of_the_course():
    """XML5 is a progress note with its stages as components."""
    note = resources(visit(), xml5=rows("XML5", 1, HOI_CHAN="Hội chẩn khoa"))["XML5/1"]

    assert note["code"]["coding"][0]["code"] == "11506-3"
    assert note["valueString"] == "Tỉnh, họng đỏ, phổi trong"
    assert note["component"] == [{"code": {"text": "Hội chẩn"}, "valueString": "Hội chẩn khoa"}]


def test_weight_blood_group_and_appointments():
    """CAN_NANG, NHOM_MAU and each day of NGAY_TAI_KHAM."""
    found = resources(visit(NHOM_MAU="O Rh+", NGAY_TAI_KHAM="20261201;20261215"))

    assert str(found["Observation/weight"]["valueQuantity"]["value"]) == "52.50"
    assert found["Observation/weight"]["code"]["coding"][0]["code"] == "29463-7"
    assert found["Observation/blood-group"]["valueCodeableConcept"]["text"] == "O Rh+"
    assert found["Appointment/2026-12-01"]["status"] == "proposed"
    assert "Appointment/2026-12-15" in found


def test_the_claim_names_who_ordered_and_did_its_lines():
    """MA_BAC_SI and NGUOI_THUC_HIEN are the care team, each once, and each line names its own."""
    found = resources(
        visit(**costs(2, 1)),
        xml2=[*rows("XML2", 1, MA_BAC_SI="A;B"), rows("XML2", 2, MA_BAC_SI="")[1]],
        xml3=rows("XML3", 1, MA_BAC_SI="B", NGUOI_THUC_HIEN="B;C"),
    )
    claim = found["Claim"]

    assert [one["provider"]["reference"] for one in claim["careTeam"]] == [
        "Practitioner/A",
        "Practitioner/B",
        "Practitioner/C",
    ]
    assert [one["sequence"] for one in claim["careTeam"]] == [1, 2, 3]
    assert [one.get("careTeamSequence") for one in claim["item"]] == [[1, 2], None, [2, 3]]


def test_the_claim_keeps_every_figure():
    """Each line is an item with the decree's amounts, exact; the totals stand on the Claim."""
    lines = rows("XML2", 1, DON_GIA="1000.500", THANH_TIEN_BV="10005.00")
    found = resources(visit(**costs(1, 1)), xml2=lines, xml3=rows("XML3", 1, TYLE_TT_DV="30"))
    claim = found["Claim"]
    drug, service = claim["item"]

    assert claim["use"] == "claim"
    assert claim["insurance"][0]["coverage"]["reference"] == "Coverage/DN4010123456789"
    assert extensions(claim["insurance"][0])["card-period"] == {
        "start": "2026-01-01",
        "end": "2026-12-31",
    }
    assert claim["insurer"]["identifier"] == {"system": PAYER, "value": "BHXH"}
    assert claim["total"] == {"value": 20000, "currency": "VND"}
    assert extensions(claim)["t-bhtt"] == {"value": 16000, "currency": "VND"}
    assert extensions(claim)["ma-doituong-kcb"] == "1.1"
    assert extensions(claim)["ky-qt"] == "2026-11"
    assert str(drug["unitPrice"]["value"]) == "1000.500"
    assert str(drug["net"]["value"]) == "10005.00"
    assert drug["servicedDate"] == "2026-11-20"
    assert drug["encounter"] == [{"reference": "Encounter"}]
    own = extensions(drug)
    assert own["line"] == "XML2/1"
    assert own["muc-huong"] == 80
    assert own["t-nguonkhac"] == {"value": 0, "currency": "VND"}
    assert own["pham-vi"] == "1"
    assert extensions(service)["tyle-tt-dv"] == 30
    assert service["diagnosisSequence"] == [1]
    named = {one["sequence"]: one for one in claim["supportingInfo"]}
    assert named[drug["informationSequence"][0]]["valueReference"]["reference"] == "XML2/1"
    assert claim["procedure"][0]["procedureReference"]["reference"] == "XML3/1"
    assert claim["diagnosis"][0]["diagnosisReference"]["reference"] == "Condition/main"


def test_an_uninsured_visit_with_costs_names_a_self_pay_coverage():
    """Contract section 5: an XML dossier with costs always makes a Claim."""
    found = resources(visit(MA_DOITUONG_KCB="9", T_TONGCHI_BV="500", **NO_CARD))
    coverage = found["Coverage/self-pay"]

    assert coverage["type"]["coding"] == [
        {"system": "http://terminology.hl7.org/CodeSystem/coverage-selfpay", "code": "pay"}
    ]
    assert coverage["payor"] == [{"reference": "Patient"}]
    assert found["Claim"]["insurance"][0]["coverage"]["reference"] == "Coverage/self-pay"
    assert "insurer" not in found["Claim"]


def test_no_costs_make_no_claim():
    """A dossier whose totals are 0 and that has no line asks for nothing."""
    assert "Claim" not in resources(visit())


def test_hiv_data_is_labelled():
    """B20 to B24 and Z21 label the Condition and what else of the visit speaks of it."""
    found = resources(
        visit(MA_BENH_KT="B24;E11.9", **costs(1, 0)), xml2=rows("XML2", 1), xml4=rows("XML4", 1)
    )
    labelled = {
        key
        for key, resource in found.items()
        if any(s["code"] == "HIV" for s in resource.get("meta", {}).get("security", []))
    }

    assert labelled == {
        "Condition/B24", "Condition/main", "Encounter", "Claim", "XML2/1", "XML4/1",
    }  # fmt: skip
    assert not any("meta" in r for r in resources(visit(MA_BENH_KT="B25;Z20")).values())
    assert "meta" in resources(visit(), xml6=[{"MA_LK": "x"}])["Encounter"]


def test_the_provenance_names_all_and_the_bytes():
    """One Provenance, its targets every other entry, its source the kept submission."""
    result = mapped(visit(), xml2=rows("XML2", 1))
    provenance = result.bundle["entry"][-1]["resource"]

    assert result.keys[-1] == "Provenance"
    assert [t["reference"] for t in provenance["target"]] == [
        entry["fullUrl"] for entry in result.bundle["entry"][:-1]
    ]
    assert provenance["recorded"] == "2026-11-20T10:00:00.000+07:00"
    what = provenance["entity"][0]["what"]["identifier"]
    assert what == {"system": f"{NS}/sid/submission", "value": "s#1"}


def test_urls_are_name_based_uuids():
    """The fullUrl is RFC 9562's version 5, so that anybody can make it again."""
    space = uuid5(NAMESPACE_URL, f"{NS}/dossier")
    result = mapped(visit())

    assert result.bundle["entry"][1]["fullUrl"] == (
        f"urn:uuid:{uuid5(space, '01999|LK-2026-000001|Patient')}"
    )


def test_rows_of_one_number_are_two_resources():
    """Two rows with the same STT are both kept."""
    lines = [rows("XML2", 1)[0], rows("XML2", 1)[0]]

    found = resources(visit(), xml2=lines)

    assert {"XML2/1", "XML2/1.2"} <= set(found)


def test_shared_resources_are_found_before_they_are_made():
    """Patient, Organization, Practitioner and Coverage carry If-None-Exist, lines do not."""
    result = mapped(visit(), xml2=rows("XML2", 1))
    shared = {
        key
        for key, entry in zip(result.keys, result.bundle["entry"], strict=True)
        if "ifNoneExist" in entry["request"]
    }

    assert shared == {
        "Organization/01999", "Patient", "Coverage/DN4010123456789", "Encounter",
        "Practitioner/000001/HNO-CCHN",
    }  # fmt: skip


TEXT = st.text(
    st.characters(blacklist_categories=("Cs",), min_codepoint=9, max_codepoint=0x1EFF), max_size=25
)
VALUE = st.one_of(
    TEXT,
    st.sampled_from(["", "0", "1", "12.50", "-3", "202611200815", "20261120", "J02.9;B24", "01"]),
)


def some_row(table: str) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(sorted(TABLES[table].fields)), VALUE, max_size=12)


@settings(max_examples=250, deadline=None)
@given(
    some_row("XML1"),
    *(st.lists(some_row(f"XML{n}"), max_size=2) for n in range(2, 6)),
)
def test_any_record_is_mapped_whole_and_again(xml1, xml2, xml3, xml4, xml5):
    """Mapping never fails, every reference resolves inside, the same record gives the same."""
    summary = {**XML1, **xml1, "MA_DOITUONG_KCB": "1.1"}
    tables = {"xml2": xml2, "xml3": xml3, "xml4": xml4, "xml5": xml5}

    result = mapped(summary, **tables)
    urls = [entry["fullUrl"] for entry in result.bundle["entry"]]

    assert len(set(urls)) == len(urls) == len(result.keys)
    assert {e["reference"] for e in walk(result.bundle)} <= set(urls)
    assert codec.dumps(mapped(summary, **tables).bundle) == codec.dumps(result.bundle)


ODD = st.sampled_from([
    "a  b", "x\ty\nz", "a;b;;c", ";", "\u200b", "<b>&", "日本", "a\u2028b", "\u3000x", "\x85",
    "1,5", "-0.50", "Âm tính", "\ufffe", "😀", "Nguyễn", "'\"", "$|\\,",
])  # fmt: skip


def odd_texts(table: str) -> st.SearchStrategy[dict[str, str]]:
    names = [field.name for field in TABLES[table].fields.values() if field.kind == "text"]
    return st.dictionaries(st.sampled_from(sorted(names)), ODD, max_size=10)


@settings(max_examples=120, deadline=None)
@given(*(odd_texts(f"XML{n}") for n in range(1, 6)))
def test_what_the_rules_take_is_valid(xml1, xml2, xml3, xml4, xml5):
    """Whatever odd text stands in a dossier that no rule refuses, every resource is valid R4."""
    lines = {
        f"XML{n}": [{**rows(f"XML{n}", 1)[0], **odd}]
        for n, odd in enumerate((xml2, xml3, xml4, xml5), 2)
    }
    record = build({"XML1": [visit(**xml1)], **lines})
    assume(all(issue.severity != "error" for issue in check(record, now=RECORDED)))

    bundle = codec.loads(codec.dumps(to_bundle(record, recorded=RECORDED, source="s").bundle))

    assert [issue.text for issue in validate(bundle)] == []


def test_an_envelope_goes_the_whole_way():
    """Bytes to Bundle: parse, build and map agree with the typed builder."""
    body = envelope([dossier(visit(), xml2=rows("XML2", 1))])
    record = parse(body).dossiers[0].record
    assert record is not None

    direct = mapped(visit(), xml2=rows("XML2", 1)).bundle

    assert to_bundle(record, recorded=RECORDED, source="s#1").bundle == direct
