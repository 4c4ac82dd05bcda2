"""The scripted model on a port: `local.scripted.upstream`, also as a command from here."""

import runpy

from local.scripted.upstream import *  # noqa: F403

if __name__ == "__main__":
    runpy.run_module("local.scripted.upstream", run_name="__main__")
