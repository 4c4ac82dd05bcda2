"""The trial: check on AWS, in an owner's account, what this repository assumes about it.

Deploys two stacks for some minutes: the server itself with a played model, and small applications.
Asks each question of `question_table`, writes one report, and deletes everything. Runs in the SAM
CLI's environment, with the boto3 that `sam` uses. Imports point down::

    __main__                     options, the question before it starts, signals, the order
    report                       the file with the answers, written after each of them
    question_table               every question, what is assumed, and the module that assumes it
    streams · refusals · server  how the questions are asked
    deployment · probe           what asks them · what a question is
    stacks                       what a trial has in an account: created, found again, deleted
    account                      the account, its Region, its clients
"""
