"""How a scripted model's speech looks on the wire: `local.scripted.wires`."""

from local.scripted.wires import *  # noqa: F403
