"""Lists of allowed values in tool descriptions: read only if they are beyond doubt."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from completions.tools.listed_values import language_codes, phone_numbers

CPU_LIMIT_S = 2


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("Available: en, de, es.", "en de es"),
        ("Switches. Available: en, de, es.", "en de es"),
        ("Available: en, de and es", "en de es"),
        ("Available: en, de, or es.", "en de es"),
        ("Available languages: ['en', 'fil']", "en fil"),
        ('Supported language codes are "en" and "pt-BR".', "en pt-BR"),
        ("Must be one of `en`, `de`.", "en de"),
        ("One of the following: en; de", "en de"),
        ("Supported: en|it|no", "en it no"),
        ("Languages: en (English), de (German).", "en de"),
        ("Supported languages: English (en), Brazilian Portuguese (pt-BR).", "en pt-BR"),
        ("English (en), Brazilian Portuguese (pt-BR)", "en pt-BR"),
        ("- en: English\n- de: German", "en de"),
        ("Available:\n\n* en - English\n* de - German\n\nUse it soon.", "en de"),
        ("Available: en, de. Never switch to 'ru' or 'zh'.", "en de"),
        ("Available: en, de. Example: 'de'.", "en de"),
        ("Available: en, de. Allowed: en, fr.", "en de fr"),
    ],
)
def test_listed_language_codes_are_found(text: str, codes: str) -> None:
    """Many notations count, whatever is said elsewhere about other codes."""
    assert language_codes(text) == codes.split()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "English, German and Spanish.",
        "Available: en.",
        "Use it if so, or so on, as is.",
        "Available: so, as, or is.",
        "Never switch to 'ru' or 'zh'.",
        "Never switch to ru, zh or ko.",
        "Do not use (ru) or (zh).",
        "Don't switch to: ru, zh.",
        "Not available: ru, zh.",
        "Unavailable: ru, zh.",
        "Available in all but 'ru' and 'zh'.",
        "All languages are supported except ru, zh.",
        'An ISO code, e.g. "en", "de".',
        "An ISO code (e.g. en, de).",
        "A code such as en, de or es.",
        "A code, for instance en, de or es.",
        "Example: 'de'",
        "Examples: en, de, es.",
        "Example codes:\n- en: English\n- de: German",
        "Never:\n- ru: Russian\n- zh: Chinese",
        "Supported languages include en, de and es.",
        "Available: en, de and more.",
        "Available: en, de, etc.",
        "Available: en, de, …",
        "Available: en, de, and any other code.",
        "Available: en, de for callers from Europe, all for others.",
        "If they speak 'de' or 'es', switch.",
        "Switch from en to de, or to es.",
        "The valid value of 'de' or 'es' is up to you.",
        "Available: en, de. Available for texts: en, fr.",
        "Available: en, de. If they speak 'es', switch, too.",
        "Available: en, de." + " Be kind." * 10_000,
    ],
)
def test_a_doubtful_list_of_languages_is_ignored(text: str) -> None:
    """Names, examples, prohibitions, open lists and English words restrict nothing."""
    assert language_codes(text) == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (
            "+1 (555) 010-0100: the workshop. 5550101: sales. sip:boss@example.com: others.",
            ["+1 (555) 010-0100", "5550101", "sip:boss@example.com"],
        ),
        ("Workshop: +15550100\nSales: +15550101", ["+15550100", "+15550101"]),
        ("The workshop (+15550100).", ["+15550100"]),
        ("Transfers the caller to +15550100.", ["+15550100"]),
        ("+15550100: workshop. For bills, not repairs, +15550101.", ["+15550100", "+15550101"]),
    ],
)
def test_numbers_to_call_are_found(text: str, numbers: list[str]) -> None:
    """All numbers in the text count, since it may offer others in other words."""
    assert phone_numbers(text) == numbers


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Calls one of 3 people.",
        "Never transfer to +15550100.",
        "Example: +15550100",
        "For instance: +15550100.",
        "A number in E.164 format (+15550100).",
        "Our own number: +15550100.",
        "Not for numbers like +15550100.",
        "Invoice 12345678 is paid.",
    ],
)
def test_a_doubtful_list_of_numbers_is_ignored(text: str) -> None:
    """Examples, formats, prohibitions and our own number restrict nothing."""
    assert phone_numbers(text) == []


@pytest.mark.parametrize("find", [language_codes, phone_numbers])
def test_no_description_takes_long(find: Callable[[str], list[str]]) -> None:
    """It comes from the caller, who may craft it to be slow."""
    began = time.process_time()
    for unit in (
        "\n",
        " ",
        "de ",
        "de\n",
        "de, ",
        "+1 ",
        "A ",
        "a(",
        "de:",
        "available ",
        "of the ",
    ):
        find(unit * (16_000 // len(unit)))
        find((unit * 40 + "\n") * 50)
        find(unit * 1_000_000)
    assert time.process_time() - began < CPU_LIMIT_S
