"""The wire formats: Chat Completions and Responses, behind one protocol."""
