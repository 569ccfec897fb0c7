"""The released student, as people use it.

In: weights that are named by digest, and images of this machine. Out: predictions with maps.
"""
