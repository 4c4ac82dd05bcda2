"""One turn of a call, from the request to the last byte."""
