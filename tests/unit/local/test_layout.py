"""The run folder, the variables and the command of a function process."""

import platform
import sys
from pathlib import Path

import pytest

from local import layout
from local.layout import CodeError, Launch, prepare, source_root
from local.template import FunctionSpec, Layer

RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Linux machine on which the running Python is found, whatever the PATH."""
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setenv(RUNTIME.replace(".", "").upper(), sys.executable)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A source tree with a function and a layer, and a built package next to it."""
    package = tmp_path / "functions/turn"
    layer = tmp_path / "layers/streaming"
    for folder in (package, layer / "lambda_streaming"):
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
    (layer / "bootstrap").write_text("#!/bin/sh\n")
    (layer / "bootstrap").chmod(0o755)
    (layer / "Makefile").touch()
    built = tmp_path / layout.BUILD_FOLDER
    (built / "TurnFunction/turn").mkdir(parents=True)
    (built / "StreamingLayer/python/lambda_streaming").mkdir(parents=True)
    (built / "StreamingLayer/bootstrap").touch()
    return tmp_path


def spec(project: Path, **fields: object) -> FunctionSpec:
    facts: dict[str, object] = {
        "logical_id": "TurnFunction",
        "name": "turn-dev",
        "handler": "turn.app.handler",
        "runtime": RUNTIME,
        "folder": project / "functions/turn",
        "timeout_s": 9.0,
        "memory_mb": 512,
        "environment": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap", "OWN": "1"},
        "layers": (Layer("StreamingLayer", project / "layers/streaming"),),
    }
    return FunctionSpec(**{**facts, **fields})  # type: ignore[arg-type]


def launch(project: Path, function: FunctionSpec | None = None, *, built: bool = False) -> Launch:
    folder = project / "run"
    folder.mkdir()
    return prepare(
        function or spec(project), root=project, built=built, folder=folder, log=sys.stderr
    )


def test_the_wrapper_gets_interpreter_and_runtime(project: Path) -> None:
    """The command is the wrapper, then the interpreter, then the runtime's script, as on Lambda."""
    run = project / "run"
    made = launch(project)
    assert made.argv == (
        str(run / "opt/bootstrap"),
        sys.executable,
        str(run / "runtime/bootstrap.py"),
    )
    assert (run / "runtime/bootstrap.py").is_file()


def test_without_a_wrapper_the_runtime_is_started(project: Path) -> None:
    """A function without a wrapper runs on the ordinary runtime."""
    made = launch(project, spec(project, environment={}))
    assert made.argv == (sys.executable, str(project / "run/runtime/bootstrap.py"))


def test_a_layers_source_is_laid_out_as_unpacked(project: Path) -> None:
    """Scripts stand in opt, packages in opt/python, and the layer's makefile nowhere."""
    launch(project)
    found = {str(p.relative_to(project / "run/opt")) for p in (project / "run/opt").rglob("*")}
    assert {"bootstrap", "python", "python/lambda_streaming"} <= found
    assert not any("Makefile" in name for name in found)


def test_a_built_layer_is_laid_out_as_built(project: Path) -> None:
    """The built layer is in opt, and the code is where the build put it."""
    made = launch(project, built=True)
    opt = project / "run/opt"
    built = project / layout.BUILD_FOLDER
    assert (opt / "bootstrap").resolve() == built / "StreamingLayer/bootstrap"
    assert (opt / "python/lambda_streaming").resolve().is_relative_to(built / "StreamingLayer")
    assert made.cwd == built / "TurnFunction"


def test_the_environment_is_lambdas_not_the_users(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process sees Lambda's variables and the template's, and none of the user's."""
    monkeypatch.setenv("PYTHONPATH", "/mine")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    environment = launch(project).environment
    assert environment["OWN"] == "1"
    assert environment["_HANDLER"] == "turn.app.handler"
    assert environment["LAMBDA_TASK_ROOT"] == str(project / "functions")
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == "turn-dev"
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert environment["AWS_ACCESS_KEY_ID"] == "local"
    assert not {"PYTHONPATH", "OPENAI_API_KEY", "HOME", "AWS_PROFILE"} & environment.keys()


def test_later_variables_win(project: Path) -> None:
    """Variables added to a launch replace those of the template."""
    made = launch(project).with_variables({"OWN": "2", "NEW": "3"})
    assert (made.environment["OWN"], made.environment["NEW"]) == ("2", "3")


def test_the_task_root_is_where_the_handler_can_be_imported(project: Path) -> None:
    """CodeUri is the task root, unless it is itself the handler's package."""
    assert source_root(spec(project)) == project / "functions"
    assert source_root(spec(project, handler="app.handler")) == project / "functions/turn"


def test_a_missing_build_says_what_to_do(project: Path) -> None:
    """A package that has not been built is an error that names it and the command."""
    function = spec(project, logical_id="OtherFunction")
    with pytest.raises(CodeError, match="OtherFunction has not been built: run make build"):
        launch(project, function, built=True)


def test_a_missing_interpreter_says_what_to_do(project: Path) -> None:
    """A runtime whose Python is not there is an error that names it."""
    with pytest.raises(CodeError, match=r"CODE=built needs python2\.99"):
        launch(project, spec(project, runtime="python2.99"), built=True)


def test_a_package_for_another_processor_is_refused(project: Path) -> None:
    """Compiled modules of another architecture are noticed before they are imported."""
    other = "x86_64" if layout.MACHINE == "aarch64" else "aarch64"
    module = (
        project / layout.BUILD_FOLDER / "TurnFunction" / f"fast.cpython-313-{other}-linux-gnu.so"
    )
    module.touch()
    with pytest.raises(CodeError, match=f"built for {other}"):
        launch(project, built=True)


def test_a_package_is_refused_off_linux(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Mac may have the right processor, but cannot load the package's compiled modules."""
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    with pytest.raises(CodeError, match="built for Linux: use CODE=source"):
        launch(project, built=True)


def test_a_command_that_is_not_that_python_is_ignored(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpreter from PYTHON3… or the PATH counts only if it runs and is that Python."""
    shim = project / RUNTIME
    shim.write_text("#!/bin/sh\necho python2.7\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv(RUNTIME.replace(".", "").upper(), str(shim))
    monkeypatch.setenv("PATH", str(project))
    with pytest.raises(CodeError, match=f"CODE=built needs {RUNTIME}"):
        launch(project, built=True)


def test_a_missing_layer_is_an_error(project: Path) -> None:
    """The error says where the layer's source was expected."""
    layers = (Layer("StreamingLayer", project / "absent"),)
    with pytest.raises(CodeError, match=r"no layer in .*absent"):
        launch(project, spec(project, layers=layers))
