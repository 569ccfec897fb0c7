"""Documents that are made from the programs: the table of messages and what to do about each.

In: the source of the three packages. Out: Markdown, the same wherever it is made.
"""
