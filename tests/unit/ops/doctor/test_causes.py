"""The table of causes is complete, and the doctor needs nothing but Python."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from ops.doctor.causes import CAUSES

ROOT = Path(__file__).resolve().parents[4]
SOURCES = sorted((ROOT / "ops/doctor").rglob("*.py"))


def test_every_cause_is_in_use_and_every_trouble_has_one() -> None:
    """Every cause that the code uses is in the table, and the table has no others."""
    strings = {
        node.value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    text = "".join(path.read_text() for path in SOURCES)
    given = set(re.findall(r"(?:Trouble|_Broken|\.breaks)\(\s*\"(\w+)\"", text))
    assert given <= CAUSES.keys()
    for name in CAUSES:
        assert name in strings
        assert len(re.findall(rf'"{name}"', text)) > 1, f"{name} is never used"


def test_every_cause_has_a_reason_and_a_remedy() -> None:
    """Every cause has a reason and a remedy of at least a sentence."""
    for cause in CAUSES.values():
        assert cause.why.endswith(".")
        assert re.search(r"[.?]$", cause.remedy)


def test_the_doctor_needs_the_standard_library_only() -> None:
    """Nothing outside the standard library is imported, so a fresh checkout is enough."""
    beside = ("pasted_url", "caller_key")
    for path in [*SOURCES, *(ROOT / f"ops/{name}.py" for name in beside)]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = getattr(node, "module", None) or node.names[0].name
                ours = ("ops.doctor", *(f"ops.{name}" for name in beside))
                known = module.startswith(ours) or module == "__future__"
                assert known or module.partition(".")[0] in sys.stdlib_module_names, path
