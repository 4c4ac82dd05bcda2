"""Serves `app` of the module file that the first argument names, by uvicorn, on any free port.

The same few lines for every server under measurement, run by its own interpreter: standard
library and uvicorn only.
"""

import importlib.util
import pathlib
import socket
import sys

import uvicorn

path = pathlib.Path(sys.argv[1]).resolve()
root = path.parents[2]
sys.path[0:1] = [str(root / "functions"), str(root)]
spec = importlib.util.spec_from_file_location(path.stem, path)
assert spec is not None
assert spec.loader is not None
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
# With the protocol named, else Nagle's algorithm stays on.
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", 0))
listener.listen(512)
print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
config = uvicorn.Config(module.app, log_level="warning", access_log=False)
uvicorn.Server(config).run(sockets=[listener])
