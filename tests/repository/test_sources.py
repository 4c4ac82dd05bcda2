import ast
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

MACHINE_PATH = re.compile(r"(?<![\w.~}])/(?:root|home|Users|work)/[\w.]")
PACKAGE_HOST = re.compile(
    r"(?:pypi|npmjs|pythonhosted)\.org|--(?:extra-)?index-url|--find-links|file:///(?!dev/|etc/passwd)"
)
LOCK_LINE = re.compile(r"(?P<pin>[\w.-]+==[\w.]+)(?P<marker> ; .+?)?(?P<hashes>( --hash=\S+)+)")
OWNERS = {"functions/completions/agents", "tests/agents"}
"""An owner's own files, for which no rule of style holds."""
LAYER_MAY_IMPORT = sys.stdlib_module_names | {
    "lambda_streaming",
    "snapshot_restore_py",  # part of the managed runtime; imported only if SnapStart is on
}


def test_no_source_names_a_machine_or_a_package_host(sources: list[Path], root: Path) -> None:
    """The repository works in any folder and with any package index."""
    this = Path(__file__)
    for path in sources:
        text = path.read_bytes().decode(errors="replace")
        for pattern in (MACHINE_PATH, PACKAGE_HOST):
            if path != this:
                assert not pattern.findall(text), path.relative_to(root)


def locks(root: Path) -> list[Path]:
    return [root / "functions/completions/requirements.txt", *root.glob("requirements/*.txt")]


def requirements(lock: Path) -> list[re.Match[str]]:
    text = re.sub(r"^#.*\n", "", lock.read_text(), flags=re.MULTILINE)
    lines = re.sub(r" *\\\n *", " ", text).splitlines()
    found = [match for line in lines if (match := LOCK_LINE.fullmatch(line))]
    assert len(found) == len(lines) > 0, lock
    return found


def test_every_dependency_is_pinned_with_hashes(root: Path) -> None:
    """Every locked package has its hashes."""
    for lock in locks(root):
        for match in requirements(lock):
            for digest in match["hashes"].split():
                assert re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", digest), f"{lock}: {digest}"


@pytest.mark.parametrize("builder", ["3.11", "3.12", "3.14"])
def test_any_python_builds_the_same_package(builder: str, root: Path) -> None:
    """Every building Python chooses the packages that the function's Python would."""

    def chosen(python: str, platform: str) -> list[str]:
        environment = {"python_version": python, "python_full_version": f"{python}.1"}
        environment["sys_platform"] = platform
        found = requirements(root / "functions/completions/requirements.txt")
        wanted = [Requirement(f"{item['pin']}{item['marker'] or ''}".strip()) for item in found]
        return [one.name for one in wanted if not one.marker or one.marker.evaluate(environment)]

    for platform in ("linux", "darwin"):
        assert chosen(builder, platform) == chosen("3.13", "linux")


def imported(path: Path) -> set[str]:
    """Return the top-level names that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").partition(".")[0])
    return names


def test_the_layer_needs_the_standard_library_only(root: Path) -> None:
    """The layer imports the standard library only, so it conflicts with no package."""
    for path in root.glob("layers/**/*.py"):
        assert imported(path) <= LAYER_MAY_IMPORT, path


def ours(sources: list[Path], root: Path) -> list[Path]:
    return [path for path in sources if str(path.relative_to(root).parent) not in OWNERS]


def test_every_module_has_a_docstring(sources: list[Path], root: Path) -> None:
    """Each module outside the tests opens with a docstring."""
    for path in ours(sources, root):
        if path.suffix == ".py" and "tests" not in path.parts:
            assert ast.get_docstring(ast.parse(path.read_bytes())), path


def test_every_test_states_one_truth(sources: list[Path], root: Path) -> None:
    """Each test has a docstring of exactly one sentence."""
    for path in ours(sources, root):
        if not path.name.startswith("test_") or path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
                "test_"
            ):
                sentence = " ".join((ast.get_docstring(node) or "").split())
                assert re.fullmatch(r"\S.*\.", sentence), f"{path.name}: {node.name}"
                assert not re.search(r"[.!?] [A-Z]", sentence), f"{path.name}: {node.name}"
