"""What an operator runs against a deployment, from a checkout.

`doctor`, `call`, `talk`, `trial`, `connect` and `upstream_key`, each behind a `make` command.

Knows the deployment from outside, by HTTP and by its vendors' APIs; nothing here is deployed, and
nothing of what is deployed is imported.
"""
