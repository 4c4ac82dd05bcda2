"""The same in the Responses API: `local.scripted.wires_responses`."""

from local.scripted.wires_responses import *  # noqa: F403
