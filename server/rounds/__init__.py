"""A study from its first request to the last merge: enrolment, exchange, collection, merging.

In: a study, and releases of sites. Out: the global student, and a record of every answer.
"""
