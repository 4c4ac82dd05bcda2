"""An OpenAI-compatible completions server for voice agents, made for AWS Lambda.

Imports point down only; modules on one line do not know each other::

    app                                 routes and wiring; `handler` is what Lambda calls
    auth · turn                         who may call; one turn, to its last byte
    door · openapi                      how a request is turned away; the API described
    report                              a turn as one log line and its metrics
    buffered                            an answer that is whole or not at all
    streamed                            what a caller hears, from the first filler to the end
    agents · plan · outlet              your agents; what a turn may do and until when; the way out
    responder                           the contract of your own agent
    question · race · calls             one question to one model; who answers; calls until whole
    winner, attempts                    the winner read to its end; requests under way
    buffer_words · tools · upstream     words of ours; calls and their schemas; the model
    body · refusals                     an answer's bytes; what a model's API says when it refuses
    distrust                            what an upstream may send, and what is shown of it
    listed, repairs, schemas            what a description and JSON Schema allow, what nearly fits
    chat · responses                    the two wire dialects
    speech · standing                   text as it is spoken; what is known of each model
    dialect                             what every wire dialect can do
    asked · said                        what a request asks; what a frame says
    credentials · connections · account keys; connections to the upstreams; a turn's facts
    secrets_manager                     both versions of a secret, and why it cannot be read
    sse · loose_json                    server-sent events; the object a model meant
    settings · errors · observability · phrases      facts everyone may know
"""
