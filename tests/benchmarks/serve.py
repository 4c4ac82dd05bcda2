"""Serve `app` from the module file in the first argument, with uvicorn, on any free port.

Every measured server runs the same few lines in its own interpreter: standard library and uvicorn
only.
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
# With the protocol named, since Nagle's algorithm else stays on.
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", 0))
listener.listen(512)
print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
config = uvicorn.Config(module.app, log_level="warning", access_log=False)
uvicorn.Server(config).run(sockets=[listener])
