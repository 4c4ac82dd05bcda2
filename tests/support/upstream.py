"""The scripted model on a port: it is the product's own, `local.scripted.upstream`."""

from local.scripted.upstream import *  # noqa: F403
