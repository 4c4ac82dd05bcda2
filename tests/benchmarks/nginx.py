"""The floor: Debian's nginx, which only relays bytes."""

from __future__ import annotations

import socket
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.process import Process

_CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log stderr error;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream model {{ server {model}; keepalive 128; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://model; proxy_buffering off;
      proxy_http_version 1.1; proxy_set_header connection "";
    }}
  }}
}}
"""
# Like the other servers, it first prints its address; then nginx runs under the same process id.
_START = "import os, sys; print(sys.argv[1], flush=True); os.execv(sys.argv[2], sys.argv[2:])"


def process(command: str, model_url: str) -> Process:
    """Return a server that relays to this model, on a port that was just free."""
    folder = Path(tempfile.mkdtemp(prefix="bench-nginx-"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = folder / "nginx.conf"
    model = urlsplit(model_url).netloc
    file.write_text(_CONFIGURATION.format(folder=folder, model=model, port=port))
    url = f"http://127.0.0.1:{port}/v1"
    return Process(sys.executable, "-c", _START, url, command, "-p", str(folder), "-c", str(file))
