"""Tables of images: how they are written, which columns they have, whose a row is.

In: CSV files. Out: rows, and what is wrong with the others.
"""
