"""The caller's and the upstream's keys, read from Secrets Manager and cached."""
