"""Callers' HTTP requests: who may call, what a request logs, and errors as responses."""
