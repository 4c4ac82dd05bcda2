"""A Lambda runtime that lets any FastAPI + Mangum function stream its responses.

It is started by the layer's `bootstrap` in place of AWS's runtime and speaks the documented
Lambda Runtime API. The layer never imports the function's packages (not even Mangum), the function
never imports the layer. Standard library only, because every import is paid for in a cold start.
"""
