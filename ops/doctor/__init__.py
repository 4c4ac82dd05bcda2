"""The doctor: plays what a voice platform plays against a URL, and says what is wrong with it.

Runs from a fresh checkout on the standard library alone (`python3 -m ops.doctor`). Knows HTTP and
the two dialects like a strict client, and the deployment only by its words: it imports nothing of
the function, so that a mistake there is not repeated here. Imports point down::

    __main__                     options, the key, the exit status
    report                       the table, the JSON, the verdict
    checks                       one check after the other, and what they show together
    answer_analysis              what one answer shows
    turns · pace · diagnosis     what is asked · how the bytes arrived · what an error means
    strict_reader                what a strict client makes of an answer
    events                       server-sent events
    causes · wire                why, and the remedy · one request with its times
    ops.pasted_url               the address in what the user pasted
"""
