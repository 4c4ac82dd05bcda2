"""`make connect`: points an ElevenLabs agent at a deployment, asks first, and changes nothing else.

`deployment` finds the server, `agent` knows which of the agent's fields are ours, `call_start`
knows the webhook before a call, `secret` knows where the caller key is kept, and only
`elevenlabs_workspace` talks to the platform. `__main__` shows the change, asks and makes it.
"""
