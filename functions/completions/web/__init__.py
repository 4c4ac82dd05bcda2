"""Callers' HTTP requests: who may call, what the log says of a request, errors as responses."""
