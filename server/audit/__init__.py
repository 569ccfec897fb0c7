"""Where a student looks, and whether it may be used: maps, regions, faithfulness, drift and the gate.

In: a student, and public reference images. Out: an audit and a verdict; hospitals' images are never here.
"""
