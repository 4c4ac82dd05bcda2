"""The page to talk with a deployment: type or speak, hear, and see what each turn did.

A local process plays the voice platform (`ops.call`) and shows the call on one page in the browser.
The key stays in the process. Imports point down::

    __main__                     the command: options, what is started, the page's address
    server                       HTTP on loopback: the page's files, requests and events
    conversation                 one call that the page steers, and what each of its turns shows
    turn_json · saved_call       a turn as the page draws it · the call as a file to play again
    request_guard                who may ask
    local_deployment             the deployment beside the page
    fault_injection              the model made slow, sick or empty
"""
