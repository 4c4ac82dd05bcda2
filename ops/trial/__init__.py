"""The trial: asks AWS, in an owner's account, what this repository assumes of it.

Deploys two stacks for minutes, the server itself with a played model and small applications, asks
each question of `question_table`, writes one report, and takes everything away. Runs in the SAM
CLI's environment, whose boto3 is what `sam` itself uses. Imports point down::

    __main__                     options, what is told before, signals, the order of it all
    report                       the file with the answers, written after each of them
    question_table               every question, what is assumed, and the module that assumes it
    streams · refusals · server  how the questions are asked
    deployment · probe           what they are asked with · what a question is
    stacks                       what a trial has in an account: made, found again, taken away
    account                      the account, its Region, its clients
"""
