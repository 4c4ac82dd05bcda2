"""The layer as a program: builds the search path that the ordinary runtime would, then runs.

We replace the runtime's script, which builds `sys.path`. The order is Lambda's: the function's
code, the layers' code, the standard library, and last what the runtime brings (boto3,
snapshot_restore_py).
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib costs start-up


def search_path(path: list[str], layer: str) -> list[str]:
    """Return `path` in the function's order; `layer` is the folder of the layers' code."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    first = [
        os.environ.get("LAMBDA_TASK_ROOT", "/var/task"),
        f"{layer}/lib/{version}/site-packages",
        layer,
    ]
    last = os.environ.get("LAMBDA_RUNTIME_DIR", "/var/runtime")
    # Python put the script's folder first, but its modules must not be top-level modules.
    rest = [entry for entry in path if entry not in (*first, last, _HERE)]
    return [*first, *rest, last]


if __name__ == "__main__":
    sys.path[:] = search_path(sys.path, os.path.dirname(_HERE))  # noqa: PTH120
    from lambda_streaming.runtime import main

    sys.exit(main())
