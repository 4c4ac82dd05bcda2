"""One HTTP request to a model API: connections, limits, refusals."""
