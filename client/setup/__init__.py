"""`rounds-site setup`: from a folder of images to a `site.yaml` that is filled in, with reasons a person can judge.

In: the hospital's own images, tables and headers, and what a person types. Out: `site.yaml` on this machine, and text
on the terminal with counts of the hospital's data; nothing of it leaves the hospital.
"""
