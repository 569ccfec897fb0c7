"""Is the store what was put into it? Chains, blobs and tables are computed anew.

In: the store. Out: what does not agree, named.
"""
