"""A Lambda runtime that lets any FastAPI + Mangum function stream its responses.

The layer's `bootstrap` starts it in place of AWS's runtime; it speaks the documented Lambda Runtime
API. The layer never imports the function's packages (not even Mangum), and the function never
imports the layer. Standard library only, because every import costs time in a cold start.
"""
