"""What makes hub and site believe each other: digests, signatures, seals, words that are read out.

In: files that change hands. Out: files that are verified, or refused.
"""
