"""Your own agents: a module here, named by `COMPLETIONS_RESPONDER`, answers in the model's place.

`docs/agents.md` shows how; `completions.responder` is the contract.
"""
