"""The layer as a program: makes the search path that the ordinary runtime would make, then runs.

That runtime's script builds `sys.path`, and we stand in its place. The order is Lambda's: the
function's code, what layers brought, the standard library, and last what the runtime carries
(boto3, snapshot_restore_py).
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib costs start-up


def search_path(path: list[str], layer: str) -> list[str]:
    """`path` as the function should have it; `layer` is the folder in which layers' code lies."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    first = [
        os.environ.get("LAMBDA_TASK_ROOT", "/var/task"),
        f"{layer}/lib/{version}/site-packages",
        layer,
    ]
    last = os.environ.get("LAMBDA_RUNTIME_DIR", "/var/runtime")
    # Python put the script's own folder first: its modules are nobody's top-level modules.
    rest = [entry for entry in path if entry not in (*first, last, _HERE)]
    return [*first, *rest, last]


if __name__ == "__main__":
    sys.path[:] = search_path(sys.path, os.path.dirname(_HERE))  # noqa: PTH120
    from lambda_streaming.runtime import main

    sys.exit(main())
