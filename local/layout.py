"""Prepares what a function process needs: files, variables and the command that starts it.

Lays out a run folder as Lambda lays out a sandbox: layers under `opt`, the ordinary runtime
under `runtime`, the code in the task root. Links the source tree, or uses what `sam build` made.
Starts nothing.
"""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from local.intrinsics import ACCOUNT, REGION
from local.template import FunctionSpec, Layer

# On the left the output of `uname -m`, on the right its spelling in the names of compiled modules.
MACHINES = {"arm64": "aarch64", "aarch64": "aarch64", "x86_64": "x86_64", "AMD64": "x86_64"}
MACHINE = MACHINES.get(platform.machine(), platform.machine())
# Where `make build` puts the packages for this machine, under Lambda's name for it. What
# `make deploy` builds, for the deployed architecture, is in .aws-sam/build.
BUILD_FOLDER = Path(".aws-sam", "arm64" if MACHINE == "aarch64" else MACHINE)
WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"


class CodeError(Exception):
    """The code cannot run on this machine; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Launch:
    """All that starts a function process, except the address of its Runtime API."""

    argv: tuple[str, ...]
    cwd: Path
    environment: Mapping[str, str]
    function_arn: str
    timeout_s: float
    log: IO[str]

    def with_variables(self, variables: Mapping[str, str]) -> "Launch":
        """Return the same with these variables added; they override existing ones."""
        return replace(self, environment={**self.environment, **variables})


def prepare(
    function: FunctionSpec,
    *,
    root: Path,
    built: bool,
    folder: Path,
    log: IO[str],
) -> Launch:
    """Lay the function out in the empty `folder`; `root` is the template's folder.

    Raises `CodeError`.
    """
    if built:
        _check_system()
        python = interpreter(function.runtime)
        task_root = _built(root, function.logical_id)
        _check_architecture(task_root)
    else:
        python, task_root = sys.executable, source_root(function)
    opt = folder / "opt"
    for layer in function.layers:
        if built:
            _unpack_built(_built(root, layer.logical_id), opt)
        else:
            _unpack_source(layer, opt)
    runtime = folder / "runtime"
    runtime.mkdir()
    # A copy: beside the original, its folder on sys.path would offer our modules for import.
    shutil.copy(Path(__file__).with_name("managed_runtime.py"), runtime / "bootstrap.py")

    argv = [python, str(runtime / "bootstrap.py")]
    own = dict(function.environment)
    if wrapper := own.get(WRAPPER):
        # We can fill only the run folder's opt, so a wrapper in /opt is taken from there.
        own[WRAPPER] = wrapper.replace("/opt/", f"{opt}/", 1)
        argv.insert(0, own[WRAPPER])
    return Launch(
        argv=tuple(argv),
        cwd=task_root,
        environment={**_lambda_variables(function, task_root, runtime), **own},
        function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function.name}",
        timeout_s=function.timeout_s,
        log=log,
    )


def source_root(function: FunctionSpec) -> Path:
    """Return the folder to import the handler from: CodeUri, or the parent of a package."""
    package = function.handler.split(".")[0]
    is_package = function.folder.name == package and (function.folder / "__init__.py").exists()
    return function.folder.parent if is_package else function.folder


def local_credentials() -> dict[str, str]:
    """Return variables that keep boto3 on this machine, without profiles or metadata service."""
    return {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_SESSION_TOKEN": "local",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _lambda_variables(function: FunctionSpec, task_root: Path, runtime: Path) -> dict[str, str]:
    """Return Lambda's variables (Developer Guide, "Defined runtime environment variables")."""
    return {
        **local_credentials(),
        "_HANDLER": function.handler,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start" if function.snap_start else "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": function.log_format,
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "LAMBDA_TASK_ROOT": str(task_root),
        "LAMBDA_RUNTIME_DIR": str(runtime),
        "LANG": "en_US.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin:/opt/bin",
        "TZ": ":UTC",
        # Not on Lambda, where no user site-packages exist.
        "PYTHONNOUSERSITE": "1",
    }


def _unpack_source(layer: Layer, opt: Path) -> None:
    """Link a layer's scripts into opt and its packages into opt/python, as its build does."""
    for item in _items(layer.folder):
        if (item / "__init__.py").exists():
            _link(item, opt / "python" / item.name)
        elif item.is_file() and os.access(item, os.X_OK):
            _link(item, opt / item.name)


def _unpack_built(built: Path, opt: Path) -> None:
    for item in _items(built):
        if item.name == "python":
            for package in _items(item):
                _link(package, opt / "python" / package.name)
        else:
            _link(item, opt / item.name)


def _items(folder: Path) -> Iterable[Path]:
    if not folder.is_dir():
        raise CodeError(f"there is no layer in {folder}")
    return sorted(folder.iterdir())


def _link(target: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target.resolve())


def _built(root: Path, logical_id: str) -> Path:
    folder = (root / BUILD_FOLDER / logical_id).resolve()
    if not folder.is_dir():
        raise CodeError(f"{logical_id} has not been built: run make build")
    return folder


def interpreter(runtime: str) -> str:
    """Return the runtime's CPython: for `python3.13` the value of PYTHON313, or else that command.

    Tries it, because a command of that name may be a shim that leads nowhere. Raises `CodeError`.
    """
    variable = runtime.replace(".", "").upper()
    for name in (os.environ.get(variable), runtime):
        found = shutil.which(name) if name else None
        if found:
            probe = (
                "import sys; print(sys.implementation.name, 'python%d.%d' % sys.version_info[:2])"
            )
            done = subprocess.run([found, "-c", probe], capture_output=True, text=True, check=False)
            if done.stdout.split() == ["cpython", runtime]:
                return found
    raise CodeError(
        f"CODE=built needs {runtime}, the Python it was built for, on PATH or in {variable};"
        " CODE=source runs with any Python from 3.11 on"
    )


def _check_system() -> None:
    # The names of compiled modules hold the processor, which a Mac may share: check Linux first.
    if platform.system() != "Linux":
        raise CodeError("the package is built for Linux: use CODE=source")


def _check_architecture(task_root: Path) -> None:
    for module in task_root.rglob("*.so"):
        for machine in set(MACHINES.values()) - {MACHINE}:
            if f"-{machine}-" in module.name:
                raise CodeError(
                    f"the package was built for {machine}, this machine is {MACHINE}: build it"
                    " with make build"
                )
