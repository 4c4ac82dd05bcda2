"""The packages as deployed: what is in them and how they run."""

import asyncio
import json
import os
import re
import struct
import subprocess
from pathlib import Path
from typing import Any

import openai
import pytest

from local.deployment import Deployment
from local.scripted.script import answer, refused
from local.scripted.upstream import ScriptedUpstream
from tests.support.built import (
    ARCHITECTURE,
    FUNCTION,
    LAYER,
    OTHER_ARCHITECTURE,
    PACKAGES,
    ROOT,
    python313,
)

pytestmark = pytest.mark.built

EVENT = ROOT / "events" / "url-chat-stream.json"
ELF_MACHINE = {"arm64": 183, "x86_64": 62}  # e_machine in the header: EM_AARCH64, EM_X86_64
# Imports the app without site-packages, and prints modules from elsewhere.
IMPORT_APP = """
import sys
root = sys.argv[1]
sys.path.insert(0, root)
import asyncio

async def start():
    import completions.app, openai, httpx2, boto3
    boto3.client("secretsmanager")

asyncio.run(start())
files = [getattr(module, "__file__", None) for module in sys.modules.values()]
outside = (root, sys.base_prefix, "<frozen")
print([file for file in files if file and not file.startswith(outside)])
"""
# Prints bytecode that Python would not use as it is, or that was not made from its source; the
# hash differs by version.
COMPARE_HASHES = """
import importlib.util, pathlib, sys
root = pathlib.Path(sys.argv[1])
for path in root.rglob("*.pyc"):
    bytecode = path.read_bytes()
    assert bytecode[:4] == importlib.util.MAGIC_NUMBER, path
    assert bytecode[4:8] == (0b01).to_bytes(4, "little"), path  # PEP 552: unchecked hash
for path in root.rglob("*.py"):
    bytecode = pathlib.Path(importlib.util.cache_from_source(path)).read_bytes()
    assert bytecode[8:16] == importlib.util.source_hash(path.read_bytes()), path
print("alike")
"""
# Imports every module of the function, used at start or not.
IMPORT_ALL = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import completions
names = [module.name for module in pkgutil.walk_packages(completions.__path__, "completions.")]
for name in names:
    importlib.import_module(name)
print(*names)
"""
# What an owner's agent may do with the packaged SDK.
USE_THE_SDK = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import openai
QUESTION = [{"role": "user", "content": "It squeaks."}]

async def ask(client):
    chat, responses = client.chat.completions, client.responses
    print((await chat.create(model="m", messages=QUESTION)).choices[0].message.content)
    stream = await chat.create(model="m", messages=QUESTION, stream=True)
    print("".join([c.choices[0].delta.content or "" async for c in stream if c.choices]))
    print((await responses.create(model="m", input=QUESTION)).output_text)
    stream = await responses.create(model="m", input=QUESTION, stream=True)
    print("".join([e.delta async for e in stream if e.type == "response.output_text.delta"]))
    async with chat.stream(model="m", messages=QUESTION) as events:
        print((await events.get_final_completion()).choices[0].message.content)
    print((await client.models.list()).data[0].id)

async def main():
    async with openai.AsyncOpenAI(base_url=sys.argv[2], api_key="any") as client:
        await ask(client)
        for api in ("embeddings", "files", "moderations", "vector_stores", "conversations", "beta"):
            getattr(client, api)

asyncio.run(main())
"""
SIZE_LIMIT_MB = 45


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def only_without_agent() -> None:
    """Skip a test of what is left out if an owner's agent keeps it in."""
    if "for an agent" in (FUNCTION / "build.txt").read_text().splitlines()[1]:
        pytest.skip("with an agent in agents/ nothing is taken out")


def run_python(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    variables = {"AWS_DEFAULT_REGION": "us-east-1", "POWERTOOLS_METRICS_NAMESPACE": "Voice"}
    done = subprocess.run(
        [str(python313()), "-I", "-S", *arguments],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_package_stands_alone() -> None:
    """The app needs nothing but the package and the standard library."""
    assert run_python("-c", IMPORT_APP, FUNCTION).stdout.strip() == "[]"


def test_every_module_of_the_function_imports() -> None:
    """Every module of the function imports from the package."""
    imported = run_python("-c", IMPORT_ALL, FUNCTION).stdout.split()
    sources = {path.relative_to(FUNCTION) for path in (FUNCTION / "completions").rglob("*.py")}
    modules = {str(path.with_suffix("")).replace("/", ".") for path in sources}
    assert {name.removesuffix(".__init__") for name in modules} == {"completions", *imported}


async def test_an_agent_may_use_the_sdk() -> None:
    """Both APIs of the bundled OpenAI client work, whole and streamed."""
    sentence = "Oil the chain."
    async with ScriptedUpstream(*[answer(sentence)] * 5, responses=True, models=("m",)) as upstream:
        told = await asyncio.to_thread(run_python, "-c", USE_THE_SDK, FUNCTION, upstream.base_url)
    assert told.stdout.splitlines() == [sentence] * 5 + ["m"]


def test_no_module_is_compiled_when_the_app_starts() -> None:
    """Every module that the app imports is taken from the package's bytecode."""
    loaded = re.findall(
        rf"# code object from '?{re.escape(str(FUNCTION))}/(\S+?)'?$",
        run_python("-v", "-c", IMPORT_APP, FUNCTION).stderr,
        re.MULTILINE,
    )
    assert any(name.startswith("completions/") for name in loaded)
    assert [name for name in loaded if not name.endswith(".pyc")] == []


@pytest.mark.parametrize("package", [FUNCTION, LAYER], ids=["function", "layer"])
def test_bytecode_covers_every_module(package: Path) -> None:
    """All bytecode is unchecked, and bytecode next to a source was made from that source."""
    assert run_python("-c", COMPARE_HASHES, package).stdout == "alike\n"


def test_only_our_own_sources_are_inside() -> None:
    """Third-party modules with bytecode come without their Python and C sources."""
    only_without_agent()
    for name in files(FUNCTION):
        assert not name.endswith((".pyx", ".pxd", ".pxi", ".c", ".h")), name
        assert not name.endswith(".py") or name.startswith("completions/"), name


@pytest.mark.parametrize("package", [FUNCTION, LAYER], ids=["function", "layer"])
def test_nothing_of_the_building_machine_is_inside(package: Path) -> None:
    """No file has a path of the building machine, so that builds can be compared."""
    home = str(ROOT).encode()
    scratch = re.compile(rb"/tmp[\w/]*/tmp\w{8}\b")
    for name, content in files(package).items():
        assert home not in content, name
        assert not scratch.search(content), name


def test_the_package_holds_what_runs_and_no_more() -> None:
    """Build tools, commands and boto3's data of other services are left out."""
    only_without_agent()
    assert not (FUNCTION / "bin").exists()
    for name in files(FUNCTION):
        parts = Path(name).parts
        assert not {"tests", "wheels", "Makefile", "requirements.txt"} & set(parts), name
        assert not name.endswith(".pyi"), name
    services = {path.name for path in (FUNCTION / "botocore/data").iterdir() if path.is_dir()}
    assert services == {"secretsmanager"}
    assert {path.name for path in LAYER.iterdir()} == {"bootstrap", "python"}
    assert os.access(LAYER / "bootstrap", os.X_OK)


def test_the_licences_travel_along() -> None:
    """Every packaged distribution keeps the metadata with its version and licence."""
    for folder in FUNCTION.glob("*.dist-info"):
        assert (folder / "METADATA").exists(), folder.name


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages for the other architecture, built by the test."""
    folder = tmp_path_factory.mktemp("other")
    environ = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        [
            *("make", "-C", ROOT, "-o", ".venv-sam/.sam"),  # Tests install nothing.
            *("build", f"ARCHITECTURE={OTHER_ARCHITECTURE}", f"BUILT={folder}"),
        ],
        env=environ | {"PYTHON313": str(python313())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"CompletionsFunction for {OTHER_ARCHITECTURE}" in done.stderr + done.stdout
    return folder


@pytest.mark.slow
def test_the_wheels_follow_the_architecture(other: Path) -> None:
    """The parameter Architecture alone decides which compiled modules a package holds."""
    for folder, architecture in ((PACKAGES, ARCHITECTURE), (other, OTHER_ARCHITECTURE)):
        compiled = list(folder.rglob("*.so"))
        assert compiled
        for module in compiled:
            (machine,) = struct.unpack_from("<H", module.read_bytes(), 18)
            assert machine == ELF_MACHINE[architecture], module
        told = (folder / "CompletionsFunction/build.txt").read_text()
        assert told.splitlines()[0] == f"for {architecture}"


@pytest.mark.slow
def test_a_changed_parameter_or_layer_makes_a_new_package(other: Path) -> None:
    """Their checksums are in the package, since SAM publishes a version only for a new package."""
    layer = [path for path in (ROOT / "layers").rglob("*") if path.is_file()]
    around = [ROOT / "samconfig.toml", ROOT / "template.yaml", *layer]
    names = {str(path.relative_to(ROOT)) for path in around if path.suffix != ".pyc"}
    told = (other / "CompletionsFunction/build.txt").read_text().splitlines()[2:]
    assert {line.split(" ", 2)[2] for line in told} == names
    for line in told:
        name = line.split(" ", 2)[2]
        done = subprocess.run(["cksum", name], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == line


@pytest.mark.slow
def test_both_packages_are_small(other: Path) -> None:
    """Both architectures' packages are below their size limits."""
    only_without_agent()
    for package in (FUNCTION, other / "CompletionsFunction"):
        assert sum(map(len, files(package).values())) / 1e6 < SIZE_LIMIT_MB


@pytest.mark.slow
def test_two_builds_are_alike(other: Path) -> None:
    """Two builds have the same bytes, except modules compiled for a processor."""
    mine, theirs = files(PACKAGES / "CompletionsFunction"), files(other / "CompletionsFunction")
    differ = {name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)}
    for name in differ:
        assert name.endswith((".so", "/WHEEL", "build.txt")) or "/sboms/" in name, name
    assert files(PACKAGES / "StreamingLayer") == files(other / "StreamingLayer")


async def test_the_built_package_streams() -> None:
    """The package answers an OpenAI client through the built layer, word by word."""
    async with (
        ScriptedUpstream(answer("Oil the chain.")) as upstream,
        Deployment(code="built", upstream=upstream.base_url) as deployment,
        openai.AsyncOpenAI(base_url=deployment.base_url, api_key=deployment.caller_key) as client,
    ):
        stream = await client.chat.completions.create(
            model="voice", messages=[{"role": "user", "content": "It squeaks."}], stream=True
        )
        words = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert "".join(words) == "Oil the chain."
    assert len([word for word in words if word]) > 1


async def test_the_built_package_reports_a_refusal() -> None:
    """A refusal of the very first request has the model's words."""
    async with (
        ScriptedUpstream(refused(418, message="A teapot.")) as upstream,
        Deployment(code="built", upstream=upstream.base_url) as deployment,
        openai.AsyncOpenAI(
            base_url=deployment.base_url,
            api_key=deployment.caller_key,
            default_headers={"x-completions-on-failure": "error"},
            max_retries=0,
        ) as client,
    ):
        with pytest.raises(openai.APIStatusError, match="A teapot") as caught:
            await client.chat.completions.create(
                model="voice", messages=[{"role": "user", "content": "It squeaks."}]
            )
    assert caught.value.status_code == 418


@pytest.mark.parametrize("mode", ["RESPONSE_STREAM", "BUFFERED"])
async def test_the_built_package_answers_an_event(mode: str) -> None:
    """An event gets the whole answer's bytes, with and without the layer."""
    async with (
        ScriptedUpstream(answer("Oil the chain.")) as upstream,
        Deployment(
            code="built", upstream=upstream.base_url, parameters={"InvokeMode": mode}
        ) as deployment,
    ):
        response = await deployment.invoke(json.loads(EVENT.read_text()))
        body = b"".join([chunk async for chunk in response.body])
    assert response.status == 200
    assert body.endswith(b"data: [DONE]\n\n")
    frames: list[Any] = [
        json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")
    ]
    spoken = [frame["choices"][0]["delta"].get("content") or "" for frame in frames]
    assert "".join(spoken) == "Oil the chain."
