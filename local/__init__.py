"""The whole deployment on one machine: what `template.yaml` describes, without AWS.

`local.deployment.Deployment` starts it, for the command line (`python -m local`) and for tests.
"""
