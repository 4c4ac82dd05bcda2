"""The peer: elevenlabs-memorysync, without an identity to look up, so that it only relays.

It runs in its own environment (`make bench` creates it), independent of this project.
"""

import os

from elevenlabs_memorysync import create_proxy_app  # type: ignore[import-not-found] # see above

app = create_proxy_app(
    api_key="-",
    # Never called: a turn without an identity is passed through.
    base_url="http://127.0.0.1:9",
    upstream_base_url=os.environ["UPSTREAM"],
    upstream_api_key="upstream-key",
    proxy_api_key="caller-key-for-tests",
)
