"""The player: the voice platform's half of a call, played against any URL.

Keeps a call as ElevenLabs Agents does (documentation of custom LLMs and system tools, 2026-11),
and reads answers with the doctor's strict reader. Imports nothing from the function. Imports point
down::

    __main__                     options, the key, the exit status
    report · html_report         table, transcript, JUnit · the calls that failed, drawn
    play                         one call file, step by step
    judge · scripted_deployment  what is wrong with a turn · the local deployment, steered
    call_file                    one file, read and checked
    schema · yaml_with_lines     the fields of a file · the line of each value
    call                         one call: say, interrupt, results, what was heard, how it ends
    turn                         what was asked, said, heard and done in one turn
    post                         one answer as it arrives, and the platform's patience for it
    history                      what the platform keeps of a call, and the request it makes of it
    system_tools                 the platform's own tools: what is offered, what a call of one does
    agent · speech               who is called · which word is heard when
"""
