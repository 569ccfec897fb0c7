"""The audit store: what a study process, its audit and people put on record, kept in one database.

Evidence is append-only and hash-chained; pages read tables that are made from it and can be made anew.
"""
