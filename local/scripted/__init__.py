"""A model that plays scripts: what it says, when it says it, and what goes wrong.

For `make call`, `make talk` and the tests. Needs Python alone; a slow model for `make run`:

    python -m local.scripted.upstream --port 9100 --first-ms 4000
"""
