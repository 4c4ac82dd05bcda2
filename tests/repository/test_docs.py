"""Everything that the documentation names exists."""

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from completions.observability import METRICS
from completions.settings import PREFIX, Settings
from completions.speech.phrases import PHRASES
from completions.turn.record import Outcome
from completions.turn.report import Fields
from completions.turn.timeline import RequestLife
from completions.web import conversation
from completions.web.request_log import BOUND_FIELDS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md")))
    if path.exists()
]
MAKE_COMMAND = re.compile(
    r"""(?<![\w-])make(?P<words>(?:\ +(?:[a-z][\w-]*|[A-Z][A-Z0-9_]*=(?:"[^"]*"|'[^']*'|\S*)))+)"""
)
TOP_LEVEL = {path.name for path in ROOT.iterdir()}
GENERATED = (".aws-sam", ".venv", ".venv-sam", ".local", ".trial")
WRITTEN_BY_THE_READER = {
    "functions/completions/agents/shop.py",
    "tests/agents/test_shop.py",
}


def code(document: Path) -> list[str]:
    """Return the code in backticks, and each line of fences and indented blocks."""
    text = document.read_text()
    fences = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^ {4,}(\S.*)$", text, re.MULTILINE)
    spans = re.findall(r"`([^`\n]+)`", text)
    return [*spans, *indented, *(line for fence in fences for line in fence.splitlines())]


def words(document: Path) -> list[str]:
    return [word.strip("'\",;:()") for piece in code(document) for word in piece.split()]


@pytest.fixture(scope="module")
def makefile() -> str:
    return (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_command_exists(document: Path, makefile: str) -> None:
    """A `make` command in the documentation names an existing target and known variables."""
    targets = set(re.findall(r"^([a-z-]+):(?!=)", makefile, re.MULTILINE))
    options = (ROOT / "local/__main__.py").read_text()
    for piece in code(document):
        for command in MAKE_COMMAND.finditer(piece):
            for word in shlex.split(command["words"]):
                name, is_variable, _ = word.partition("=")
                option = f'"{name.lower().replace("_", "-")}"'
                if is_variable:
                    assert re.search(rf"\b{name}\b", makefile) or option in options, piece
                else:
                    assert name in targets, piece


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_exists(document: Path) -> None:
    """A path in the documentation exists, unless a command creates it."""
    for word in words(document):
        if re.fullmatch(r"\.?[\w-]+(?:[/.][\w.*-]+)*/?", word):
            top = word.split("/")[0]
            is_path = "/" in word or re.search(r"\.(?:md|toml|yaml|json|py)$", word)
            if word in WRITTEN_BY_THE_READER:
                continue
            if is_path and top in TOP_LEVEL and top not in GENERATED:
                assert list(ROOT.glob(word.rstrip("/"))), word


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    """A relative link points at a file, and its anchor at a heading in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if re.match(r"\w+:", target):
            continue
        file_name, _, anchor = target.partition("#")
        linked = document.parent / file_name if file_name else document
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
            assert anchor in slugs, target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_variable_is_a_setting(document: Path) -> None:
    """The function reads every COMPLETIONS_ variable in the documentation."""
    known = {PREFIX + field.name.upper() for field in dataclasses.fields(Settings)} | {PREFIX}
    assert set(re.findall(rf"{PREFIX}[A-Z_]*", document.read_text())) <= known


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_parameter_and_output_exists(document: Path, template: dict[str, Any]) -> None:
    """A name with a value, or in the first cell of a table of parameters, is in the template."""
    known = {*template["Parameters"], *template["Outputs"], *template["Resources"]}
    named = {match for piece in code(document) for match in re.findall(r"\b([A-Z]\w*)=", piece)}
    named = {name for name in named if not name.isupper() and "_" not in name}
    for table in re.findall(r"^\| parameter.*\n(?:\|.*\n)+", document.read_text(), re.MULTILINE):
        named |= set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    assert named <= known


def test_one_page_has_every_parameter(template: dict[str, Any]) -> None:
    """The table has each parameter with its default."""
    rows = re.findall(
        r"^\| `([A-Z]\w+)` \| (?:`(.*?)`)? ?\|",
        (ROOT / "docs" / "parameters.md").read_text(),
        re.MULTILINE,
    )
    defaults = {name: str(one["Default"]) for name, one in template["Parameters"].items()}
    assert dict(rows) == defaults
    assert len(rows) == len(defaults)


def test_the_readme_is_short_and_counts_right() -> None:
    """The README has less than 150 lines and states the right number of languages."""
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 150
    parameters = (ROOT / "docs" / "parameters.md").read_text()
    assert f"in {len(PHRASES)} languages" in parameters


def test_ci_runs_what_the_readme_says() -> None:
    """.ci/run runs every command of the README's beginning, unchanged."""
    text = (ROOT / "README.md").read_text()
    begin, end = text.index("## What a caller hears"), text.index("## Deploy")
    listed = re.findall(r"^    (\S.*?)(?: +#.*)?$", text[begin:end], re.MULTILINE)
    commands = [line for line in listed if line.startswith(("make ", "python3 "))]
    assert len(commands) >= 5
    ci = (ROOT / ".ci/run").read_text()
    for command in commands:
        line = rf"^(?:call |shows |streams )?{re.escape(command)}(?: &)?$"
        assert re.search(line, ci, re.MULTILINE)


def test_the_architecture_names_every_module() -> None:
    """The architecture page names each room and module of the function and of the layer."""
    text = (ROOT / "docs/architecture.md").read_text()
    unnamed = {"wheels", "agents"}  # An owner's own modules.
    for package in ("functions/completions", "layers/streaming/lambda_streaming"):
        for path in (ROOT / package).rglob("[!_]*.py"):
            assert unnamed & {*path.parts} or re.search(rf"`{path.stem}(?:\.py)?`", text), path
        for path in (ROOT / package).rglob("__init__.py"):
            room = path.parent.relative_to(ROOT / package)
            assert f"`{room.name}/`" in text or not room.name, path


def test_the_changelog_names_every_parameter(template: dict[str, Any]) -> None:
    """The changelog names each parameter."""
    told = (ROOT / "CHANGELOG.md").read_text()
    assert [name for name in template["Parameters"] if f"`{name}`" not in told] == []


def table(document: str, first_cell: str) -> dict[str, list[str]]:
    """Return the rows of the only table with this heading: the first cell's name, then the rest."""
    text = (ROOT / document).read_text()
    (found,) = re.findall(rf"^\| {first_cell} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in found.splitlines()]
    assert len({row[0] for row in rows}) == len(rows), first_cell
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_log_lines_are_explained() -> None:
    """The page of logs explains every line that the function writes."""
    sources = "".join(path.read_text() for path in ROOT.glob("functions/completions/**/*.py"))
    written = set(re.findall(r"\blog\.[a-z]+\(\s*\"([a-z_.]+)\"", sources))
    assert sorted(table("docs/logs.md", "line")) == sorted(written)


def test_the_fields_of_a_turn_are_explained() -> None:
    """The page of logs explains every field of `turn.finished`, in the order of the code."""
    told = list(table("docs/logs.md", "field"))
    assert told == [*BOUND_FIELDS, *Fields.__annotations__]


def test_each_source_of_a_calls_id_is_named() -> None:
    """The page of platforms names each source of a call's id, in the order of the code."""
    text = (ROOT / "docs/platforms.md").read_text()
    (told,) = re.findall(r"^- \*\*The call's id\*\* .* It is read, (.*)$", text, re.MULTILINE)
    nested = [".".join(names) for names in conversation.NESTED]
    sources = [*conversation.HEADERS, *conversation.QUERY, *nested, *conversation.FIELDS]
    assert re.findall(r"`([^`]+)`", told) == [*sources, *conversation.OBJECTS]


def test_a_turns_time_line_is_explained() -> None:
    """The page of logs explains the fields of one request, in the order of the code."""
    told = list(table("docs/logs.md", "in an entry"))
    assert told == list(RequestLife.__annotations__)


def test_the_outcomes_are_explained() -> None:
    """The page of operations explains every outcome and says which ones count as failed."""
    told = {name: cells[1] for name, cells in table("docs/operations.md", "outcome").items()}
    assert told == {outcome: "yes" if outcome.failed else "" for outcome in Outcome}


def test_the_metrics_are_explained() -> None:
    """The page of logs explains every metric, with its unit."""
    told = {name: cells[0] for name, cells in table("docs/logs.md", "metric").items()}
    assert told == METRICS
