"""Texts in two languages: Vietnamese as the value, English in the translation extension.

http://hl7.org/fhir/StructureDefinition/translation
"""

from __future__ import annotations

from typing import Any

from fhir_server.model.outcome import TRANSLATION


def english(text: str) -> dict[str, Any]:
    """Return the extension element (of `_title`, `_text`, ..) that gives the English text."""
    return {
        "extension": [
            {
                "url": TRANSLATION,
                "extension": [
                    {"url": "lang", "valueCode": "en"},
                    {"url": "content", "valueString": text},
                ],
            }
        ]
    }


def bilingual(element: str, vi: str, en: str) -> dict[str, Any]:
    """Return a text element with its translation: `title` and `_title`."""
    return {element: vi, f"_{element}": english(en)}
