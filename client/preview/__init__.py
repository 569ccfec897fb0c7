"""A page for the hospital's own eyes: what the models will see, with what looks odd.

In: the hospital's images. Out: one HTML file on this machine; nothing of it leaves.
"""
