"""`make connect`: points an ElevenLabs agent at a deployment, asks first, and changes nothing else.

`deployment` finds the server, `agent` knows which of the agent's fields are ours, `call_start` the
webhook before a call, `secret` where the caller key is kept, `workspace` alone talks to the
platform. `__main__` shows the change, asks and makes it.
"""
