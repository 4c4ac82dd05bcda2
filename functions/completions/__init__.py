"""An OpenAI-compatible completions server for voice agents, made for AWS Lambda.

Imports point down only::

    app                                    routes and wiring; `handler` is what Lambda calls
    auth · turn                            who may call; one turn from request to last byte
    upstream                               the model
    chat                                   the wire dialect
    dialect                                what every wire dialect can say
    credentials · sse                      keys; server-sent events
    settings · errors · observability      facts everyone may know
"""
