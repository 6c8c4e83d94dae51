"""The sentences of the findings, as data: key -> weight (E, W), rule, English, Vietnamese."""

from __future__ import annotations

from typing import Final

_Rows = dict[str, tuple[str, str, str, str]]

ENVELOPE: Final[_Rows] = {
    "count-differs": (
        "W", "XML",
        "{f} does not give the number of HOSO that the envelope holds.",
        "{f} không bằng số HOSO có trong gói dữ liệu.",
    ),
    "base64": (
        "E", "BASE64",
        "{f} is not valid base64.",
        "{f} không phải là base64 hợp lệ.",
    ),
    "encoding": (
        "E", "ENCODING",
        "{f} is not UTF-8 text.",
        "{f} không phải là văn bản mã hóa UTF-8.",
    ),
    "declaration": (
        "E", "ENCODING",
        "{f} is UTF-8 text, but encoding= in its XML declaration names another encoding.",
        "{f} là văn bản UTF-8 nhưng encoding= trong khai báo XML ghi bảng mã khác.",
    ),
    "xml-syntax": (
        "E", "XML",
        "{f} is not well-formed XML: see line {line}.",
        "{f} không phải là XML đúng cú pháp: xem dòng {line}.",
    ),
    "xml-doctype": (
        "E", "XML",
        "{f} has a DOCTYPE, which is not read.",
        "{f} có DOCTYPE, máy chủ không nhận.",
    ),
    "xml-root": (
        "E", "XML",
        "{f} does not begin with the element {root} of its table (line {line}).",
        "{f} không bắt đầu bằng phần tử {root} của bảng (dòng {line}).",
    ),
    "xml-namespace": (
        "E", "XML",
        "{f} has its element {root} in a namespace (line {line}); the table has none.",
        "{f} có phần tử {root} thuộc một xmlns (dòng {line}); bảng này không dùng xmlns.",
    ),
    "xml-twice": (
        "E", "XML",
        "{f} has {tag} twice in one row, with different text (line {line}).",
        "{f} có {tag} hai lần trong một dòng dữ liệu, nội dung khác nhau (dòng {line}).",
    ),
    "limit": (
        "E", "LIMIT",
        "{f} is larger than this server reads.",
        "{f} vượt quá giới hạn mà máy chủ đọc.",
    ),
    "two-summaries": (
        "E", "XML",
        "The dossier holds more than one {f}.",
        "Hồ sơ có nhiều hơn một {f}.",
    ),
    "no-summary": (
        "E", "G12-REQUIRED",
        "The dossier has no {f}, the summary of the visit.",
        "Hồ sơ thiếu {f}, bảng tổng hợp của đợt khám chữa bệnh.",
    ),
    "unknown-table": (
        "W", "XML",
        "{f} names a table that this server does not know; the file is kept and not read.",
        "{f} là loại hồ sơ mà máy chủ không biết; tệp được lưu nhưng không được đọc.",
    ),
    "empty-table": (
        "W", "XML",
        "{f} is empty, so the table is taken as absent.",
        "{f} trống nên bảng được coi như không gửi.",
    ),
    "nested": (
        "W", "XML",
        "{f} holds elements where text was expected; only their text is read.",
        "{f} chứa phần tử con thay vì văn bản; chỉ phần chữ được đọc.",
    ),
    "duplicate-key": (
        "E", "DUPLICATE-KEY",
        "An earlier dossier of this submission has the same MA_CSKCB and {f}.",
        "Một hồ sơ trước trong cùng lần gửi có cùng MA_CSKCB và {f}.",
    ),
    "not-an-object": (
        "E", "FORMAT",
        "{f} is not a flat JSON object of the decree's field names.",
        "{f} không phải là đối tượng JSON phẳng gồm các tên trường của quyết định.",
    ),
    "not-a-string": (
        "E", "FORMAT",
        "{f} must be a string or an integer.",
        "{f} phải là chuỗi ký tự hoặc số nguyên.",
    ),
    "cells": (
        "E", "FORMAT",
        "The line of {f} does not have as many cells as the header line.",
        "Dòng của {f} không có cùng số ô với dòng tiêu đề.",
    ),
}  # fmt: skip

FORMS: Final[_Rows] = {
    "required": (
        "E", "G12-REQUIRED",
        "{f} is required and is empty.",
        "Trường {f} là bắt buộc nhưng đang trống.",
    ),
    "wanted": (
        "W", "G12-REQUIRED",
        "{f} is empty; the portal's table asks for it.",
        "Trường {f} đang trống; bảng kiểm của cổng yêu cầu trường này.",
    ),
    "required-here": (
        "W", "G12-REQUIRED",
        "{f} is empty, and what else the dossier says makes it required.",
        "Trường {f} đang trống trong khi nội dung khác của hồ sơ khiến trường này bắt buộc.",
    ),
    "length": (
        "E", "FORMAT",
        "{f} is longer than its table allows.",
        "Trường {f} dài hơn độ dài cho phép.",
    ),
    "comma": (
        "E", "FORMAT",
        "{f} is not a number with a decimal point; a comma is not read as one.",
        "Trường {f} không phải là số dùng dấu chấm thập phân; dấu phẩy không được chấp nhận.",
    ),
    "number": (
        "E", "FORMAT",
        "{f} is not a number.",
        "Trường {f} không phải là số.",
    ),
    "time": (
        "E", "FORMAT",
        "{f} is not a real date and time of the form yyyymmddHHMM.",
        "Trường {f} không phải là ngày giờ có thật theo dạng yyyymmddHHMM.",
    ),
    "day": (
        "E", "FORMAT",
        "{f} is not a real date of the form yyyymmdd.",
        "Trường {f} không phải là ngày có thật theo dạng yyyymmdd.",
    ),
    "day-or-time": (
        "E", "FORMAT",
        "{f} is not a real date of the form yyyymmdd or yyyymmddHHMM.",
        "Trường {f} không phải là ngày có thật theo dạng yyyymmdd hoặc yyyymmddHHMM.",
    ),
    "birth": (
        "E", "FORMAT",
        "{f} is not a birth date of the form yyyymmddHHMM, with 0000 for what is unknown.",
        "Trường {f} không phải là ngày sinh theo dạng yyyymmddHHMM, phần không rõ ghi 0000.",
    ),
    "icd": (
        "E", "FORMAT",
        "{f} does not have the form of an ICD-10 code.",
        "Trường {f} không đúng dạng mã ICD-10.",
    ),
    "facility": (
        "E", "FORMAT",
        "{f} does not have the form of a five-character facility code.",
        "Trường {f} không đúng dạng mã cơ sở khám chữa bệnh gồm 5 ký tự.",
    ),
    "changed": (
        "W", "FORMAT",
        "{f} was trimmed or put in capitals before it was read.",
        "Trường {f} đã được bỏ khoảng trắng hoặc đổi sang chữ hoa trước khi đọc.",
    ),
    "places": (
        "W", "FORMAT",
        "{f} has more decimal places than the decree allows.",
        "Trường {f} có nhiều chữ số thập phân hơn quy định.",
    ),
    "comma-result": (
        "W", "FORMAT",
        "{f} looks like a number with a decimal comma; it is kept as text.",
        "Trường {f} giống số dùng dấu phẩy thập phân; giá trị được giữ dưới dạng văn bản.",
    ),
    "unknown-field": (
        "W", "FORMAT",
        "{f} is not a field of this table and is not read.",
        "{f} không phải là trường của bảng này nên không được đọc.",
    ),
    "code-page": (
        "E", "ENCODING",
        "{f} holds text of an old code page (TCVN3, VNI), or UTF-8 read as another encoding.",
        "Trường {f} chứa văn bản theo bảng mã cũ (TCVN3, VNI), hoặc UTF-8 bị đọc sai bảng mã.",
    ),
    "same-row": (
        "W", "FORMAT",
        "{f} repeats the number of another row of its table.",
        "{f} trùng số thứ tự với một dòng khác của bảng.",
    ),
    "too-many": (
        "W", "LIMIT",
        "The dossier has more findings than are listed, which end at {f}.",
        "Hồ sơ có nhiều phát hiện hơn số được liệt kê; danh sách dừng ở {f}.",
    ),
}  # fmt: skip

CHECKS: Final[_Rows] = {
    "catalogue": (
        "E", "G13-CATALOGUE",
        "{f} is not a code of its list.",
        "Trường {f} không có trong danh mục.",
    ),
    "catalogue-warning": (
        "W", "G13-CATALOGUE",
        "{f} is not a code of its list.",
        "Trường {f} không có trong danh mục.",
    ),
    "cccd-shape": (
        "E", "CCCD-SHAPE",
        "{f} is not 12 digits, 9 digits, or a capital and 7 digits.",
        "Trường {f} không phải là 12 chữ số, 9 chữ số, hoặc một chữ hoa và 7 chữ số.",
    ),
    "cccd-foreign": (
        "W", "CCCD-SHAPE",
        "{f} has the form of a foreign paper or of an e-ID account code.",
        "Trường {f} có dạng giấy tờ nước ngoài hoặc mã tài khoản định danh điện tử.",
    ),
    "cccd-province": (
        "W", "CCCD-SHAPE",
        "{f} begins with a province code that is not known.",
        "Trường {f} bắt đầu bằng mã tỉnh không có trong danh mục.",
    ),
    "cccd-sex": (
        "W", "CCCD-SEX",
        "{f} says another sex in its fourth digit than GIOI_TINH.",
        "Chữ số thứ tư của trường {f} không khớp với GIOI_TINH.",
    ),
    "cccd-year": (
        "W", "CCCD-YEAR",
        "{f} says another birth year in its digits 4 to 6 than NGAY_SINH.",
        "Các chữ số thứ 4 đến thứ 6 của trường {f} không khớp với năm trong NGAY_SINH.",
    ),
    "cccd-missing": (
        "W", "CCCD-MISSING",
        "{f} is empty for an adult; without it the visit may not reach the citizen's book.",
        "Trường {f} trống ở người lớn; thiếu số này đợt khám có thể không vào được sổ sức khỏe.",
    ),
    "name-digits": (
        "W", "FORMAT",
        "{f} holds digits, which a person's name does not have.",
        "Trường {f} có chữ số, họ tên người không có chữ số.",
    ),
    "age": (
        "W", "G09",
        "{f} makes the patient older than 130 years.",
        "Trường {f} cho thấy người bệnh quá 130 tuổi.",
    ),
    "birth-time": (
        "W", "FORMAT",
        "{f} has no time of birth, which is wanted up to 28 days of age.",
        "Trường {f} thiếu giờ sinh, cần có khi trẻ đến 28 ngày tuổi.",
    ),
    "card": (
        "E", "G03",
        "A part of {f} is not a card: 15 characters, 10 digits, or a 12-digit citizen number.",
        "Một phần của {f} không phải mã thẻ: 15 ký tự, 10 chữ số, hoặc 12 chữ số định danh.",
    ),
    "card-lists": (
        "E", "G05",
        "{f} does not have as many parts as MA_THE_BHYT.",
        "Trường {f} không có cùng số phần tử với MA_THE_BHYT.",
    ),
    "card-dates": (
        "W", "G04",
        "By {f} no card is valid over the whole visit.",
        "Theo {f}, không có thẻ nào còn giá trị trong suốt đợt khám chữa bệnh.",
    ),
    "out-before-in": (
        "E", "G09",
        "{f} is before NGAY_VAO.",
        "Trường {f} trước NGAY_VAO.",
    ),
    "admission-outside": (
        "E", "G09",
        "{f} is not between NGAY_VAO and NGAY_RA.",
        "Trường {f} không nằm giữa NGAY_VAO và NGAY_RA.",
    ),
    "born-later": (
        "E", "G09",
        "{f} is after NGAY_VAO.",
        "Trường {f} sau NGAY_VAO.",
    ),
    "future": (
        "E", "G09",
        "{f} is in the future.",
        "Trường {f} ở tương lai.",
    ),
    "paid-before-out": (
        "W", "G09",
        "{f} is before NGAY_RA.",
        "Trường {f} trước NGAY_RA.",
    ),
    "order-outside": (
        "W", "G10",
        "{f} is not in the order NGAY_VAO, NGAY_YL, NGAY_TH_YL, NGAY_KQ of the visit.",
        "Trường {f} không theo trình tự NGAY_VAO, NGAY_YL, NGAY_TH_YL, NGAY_KQ của đợt khám.",
    ),
    "days": (
        "W", "G11",
        "{f} is not what NGAY_VAO, NGAY_RA and MA_LOAI_KCB give.",
        "Trường {f} không khớp với NGAY_VAO, NGAY_RA và MA_LOAI_KCB.",
    ),
    "many-codes": (
        "W", "G17",
        "{f} holds more than 12 codes.",
        "Trường {f} có quá 12 mã bệnh.",
    ),
    "code-twice": (
        "W", "G17",
        "{f} repeats a code, or holds the main one.",
        "Trường {f} lặp lại mã bệnh hoặc chứa mã bệnh chính.",
    ),
    "line-arithmetic": (
        "W", "G18",
        "{f} is not what the line's other figures give.",
        "Trường {f} không khớp với các số liệu khác của dòng.",
    ),
    "sum": (
        "W", "G19",
        "{f} is not the sum that the lines give.",
        "Trường {f} không bằng tổng của các dòng chi tiết.",
    ),
    "scope": (
        "W", "G29",
        "{f} is outside the insurance scope, and the line asks an amount within it.",
        "{f} ngoài phạm vi bảo hiểm nhưng dòng vẫn đề nghị số tiền trong phạm vi.",
    ),
    "ratio": (
        "W", "G30",
        "{f} is not a ratio that the decree knows.",
        "Trường {f} không phải là tỷ lệ theo quy định.",
    ),
    "weight": (
        "W", "G33",
        "{f} is not a weight between 0 and 200 kg.",
        "Trường {f} không phải là cân nặng từ 0 đến 200 kg.",
    ),
    "other-visit": (
        "W", "G35",
        "{f} is not the one of XML1.",
        "Trường {f} không giống trường cùng tên ở XML1.",
    ),
    "not-insured": (
        "W", "G37",
        "{f} must be empty or 0 where MA_DOITUONG_KCB is 9.",
        "Trường {f} phải trống hoặc bằng 0 khi MA_DOITUONG_KCB là 9.",
    ),
}  # fmt: skip
