"""The hub's reach into Flower beyond its public API: replies, runs, the SuperLink and its nodes.

In: addresses and certificates of the SuperLink. Out: answers and states in our own words.
"""
