"""Records on their way into the store: the outbox of a run, its reading, and the watch over folders.

In: run folders. Out: batches of records, in order.
"""
