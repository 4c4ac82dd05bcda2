"""An OpenAI-compatible completions server for voice agents, made for AWS Lambda.

Rooms, from the top; each imports from the ones below it only (`make check`)::

    app                          routes and wiring; `handler` is what Lambda calls
    snapshot                     SnapStart's hooks
    turn · web                   one turn, request to last byte; callers' HTTP requests
    agents                       your agents
    responder                    the contract for them
    agent_api                    what they get: the conversation, the models, a client
    race                         who answers: fallback, hedging, timeouts
    quirks                       what each model refuses, and how a request is mended for it
    speech · upstream            text as it is spoken; one HTTP request to a model API
    tools                        tool calls: whole, valid, or explained
    dialects · keys              the two wire formats; the caller's and the upstream's keys
    settings · errors · observability · sse      facts everyone may use
    causes · immutable           what a model API's refusal is about; records cheap to make
"""
