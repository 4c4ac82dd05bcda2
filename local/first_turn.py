"""The first turn of `make run`, played by itself: does the model behind it answer?

In a call every failure becomes words, so a wrong key, URL or model would be told in the log alone.
This turn asks for errors as a status.
"""

import http.client
import json
from urllib.parse import urlsplit

from local.remedies import Upstream

TIMEOUT_S = 20.0


def trouble(base_url: str, caller_key: str, upstream: Upstream) -> str:
    """Play the turn; return what is wrong and what helps, empty if it was answered."""
    url = urlsplit(base_url)
    messages = [{"role": "user", "content": "Say yes."}]
    body = {"model": upstream.model, "messages": messages, "max_tokens": 16}
    headers = {
        "authorization": f"Bearer {caller_key}",
        "content-type": "application/json",
        "x-completions-on-failure": "error",
    }
    connection = http.client.HTTPConnection(url.netloc, timeout=TIMEOUT_S)
    try:
        connection.request("POST", f"{url.path}/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        status, answer = response.status, response.read()
    except TimeoutError:
        return upstream.failed(0, "upstream_timeout", "")
    except (OSError, http.client.HTTPException) as error:
        return f"the first turn failed: {type(error).__name__}"
    finally:
        connection.close()
    if status == 200:
        return ""
    try:
        said = json.loads(answer)["error"]
        code, message = str(said["code"]), str(said["message"])
    except (ValueError, LookupError, TypeError):
        code, message = "", ""
    told = "".join(each if each.isprintable() else " " for each in message[:300])
    return upstream.failed(status, code, told)
