"""The doctor: plays what a voice platform plays against a URL, and says what is wrong with it.

Runs from a fresh checkout on the standard library alone (`python3 -m ops.doctor`), knows HTTP and
the two dialects as a strict client does, and the deployment by its words only: it imports nothing
of the function, so that a mistake made there is not made here again. Imports point down::

    __main__                     options, the key, the exit status
    report                       the table, the JSON, the verdict
    visit                        one check after the other, what one tells about the next
    reading                      what one answer tells
    turns · pace                 what is asked · how the bytes arrived
    dialects · causes            what a strict client makes of an answer · why, and the remedy
    wire · events                one request with its times · server-sent events
    ops.pasted_url               the address in what the user pasted
"""
