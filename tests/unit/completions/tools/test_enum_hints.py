"""What a system tool's description lists counts as its schema; what is doubtful does not."""

from __future__ import annotations

from typing import Any

import pytest

from completions.dialects.request import Tool
from completions.tools.system_tools import with_enum_hints


def values(name: str, parameter: str, says: str, **spec: Any) -> Any:
    """What the parameter may be, as far as that is known."""
    properties = {parameter: {"type": "string", **spec}, "reason": {"type": "string"}}
    tool = Tool(name, says, {"type": "object", "properties": properties})
    return with_enum_hints(tool).parameters["properties"][parameter].get("enum")


@pytest.mark.parametrize(
    ("description", "codes"),
    [
        ("Available: en, de, es.", ["en", "de", "es"]),
        ("Available: en, de and es", ["en", "de", "es"]),
        ("English (en), Brazilian Portuguese (pt-BR)", ["en", "pt-BR"]),
        ("Available languages: ['en', 'fil']", ["en", "fil"]),
        ("- en: English\n- de: German", ["en", "de"]),
        ("Supported: en|it|no", ["en", "it", "no"]),
    ],
)
def test_language_codes_in_a_description_are_the_languages(
    description: str, codes: list[str]
) -> None:
    """However they are listed; in the description of the parameter as well."""
    assert values("language_detection", "language", description) == codes
    assert values("language_detection", "language", "Switches.", description=description) == codes


@pytest.mark.parametrize(
    "description",
    [
        "",
        "English, German and Spanish.",
        'An ISO code, e.g. "en", "de".',
        "Available: en.",
        "Use it if so, or so on, as is.",
        "A code such as en, de or es.",
    ],
)
def test_what_is_no_list_restricts_nothing(description: str) -> None:
    """Names, examples, a single code and English words leave every language allowed."""
    assert values("language_detection", "language", description) is None


def test_telephone_numbers_in_a_description_are_the_numbers() -> None:
    """International, plain, or addresses of voice over IP; without one, any is allowed."""
    described = "+1 (555) 010-0100: the workshop. 5550101: sales. sip:boss@example.com: others."
    assert values("transfer_to_number", "transfer_number", described) == [
        "+1 (555) 010-0100",
        "5550101",
        "sip:boss@example.com",
    ]
    assert values("transfer_to_number", "transfer_number", "Calls one of 3 people.") is None


def test_a_schema_that_lists_is_not_changed() -> None:
    """`enum` says it better; another type, another tool, or no schema says nothing of it."""
    described = "Available: en, de."
    assert values("language_detection", "language", described, enum=["fr"]) == ["fr"]
    assert values("language_detection", "language", described, type="integer") is None
    assert values("translate", "language", described) is None
    bare = Tool("language_detection", described, {"properties": None})
    assert with_enum_hints(bare) is bare
