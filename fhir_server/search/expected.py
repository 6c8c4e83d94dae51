"""What a search value must be, in the two languages that refusals speak."""

from __future__ import annotations

from typing import Final

EXPECTED: Final[dict[str, str]] = {
    "true or false": "true hoặc false",
    "a resource id": "id của tài nguyên",
    "system|code": "system|code",
    "system|code; a bar within a code is written \\|": (
        "system|code; dấu gạch đứng trong mã phải viết \\|"
    ),
    "system|code|value": "system|code|value",
    "system|code, both given": "system|code đủ cả hai phần",
    "the URL of a ValueSet, or ValueSet/id": "URL của một ValueSet, hoặc ValueSet/id",
    "the id of a List, or List/id": "id của một List, hoặc List/id",
    "a text with letters or digits": "văn bản có chữ hoặc số",
    "a URI": "URI",
    "a reference to the type that its modifier names": (
        "tham chiếu đến loại tài nguyên mà bổ từ nêu"
    ),
    "an id, Type/id or an absolute URL": "id, Loại/id hoặc URL tuyệt đối",
    "Type/id of a resource that may be part of others of its type": (
        "Loại/id của tài nguyên có thể thuộc về tài nguyên khác cùng loại"
    ),
    "an absolute URL, or url|version": "URL tuyệt đối, hoặc url|phiên bản",
    "begun with one of the prefixes eq ne gt lt ge le sa eb ap": (
        "giá trị bắt đầu bằng một trong các tiền tố eq ne gt lt ge le sa eb ap"
    ),
    "a date or time": "ngày hoặc thời điểm",
    "a number": "số",
    "number or number|system|code": "số hoặc số|system|code",
    'words and "phrases", which AND, OR, NOT and brackets may join; a comma within is \\,': (
        'các từ và "cụm từ", có thể nối bằng AND, OR, NOT và ngoặc; '
        "dấu phẩy bên trong phải viết \\,"
    ),
    "latitude|longitude|distance|unit, in degrees and a UCUM unit of length (km if none)": (
        "vĩ độ|kinh độ|khoảng cách|đơn vị, theo độ và đơn vị chiều dài UCUM (mặc định km)"
    ),
    "{} values joined by $": "{} giá trị nối bằng $",
}
"""What was expected, in English, and the same in Vietnamese."""
