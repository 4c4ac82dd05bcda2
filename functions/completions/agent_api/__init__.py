"""What your own agent gets: the conversation, the models, and an OpenAI client for both.

`completions.responder` is its public face. An agent's questions to models are races of the turn,
whether it asks by `Conversation.ask` or through the client. Imports point down::

    agent_question · loading        an agent in the model's place, and how it is found
    conversation                    what it gets
    frameworks                      what frameworks want instead
    agent_errors                    whose failure an error is
    client · transport              the SDK's clients, and the HTTP below them
    client_requests · replies       one request of a client, and its answer
    agent_run · agent_tasks         one run of an agent, and the tasks that it starts
    model_questions · platform_tools · events
"""
