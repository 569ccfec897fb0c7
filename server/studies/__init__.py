"""Studies that the hub asks: resolved, offered in parcels, approved by hospitals, submitted.

In: a workspace and what a coordinator sets. Out: parcels, offers on record, and submissions.
"""
