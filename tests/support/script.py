"""The script language, as tests write it: it is the product's own, `local.scripted`."""

from local.scripted.script import *  # noqa: F403
from local.scripted.stage import *  # noqa: F403
