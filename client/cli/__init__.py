"""`rounds-site`: the commands of a hospital's engineer, each in a module of its own that is loaded when it is typed.

In: what a person types at a hospital. Out: text on that terminal, and files in the site's folder; a command that
writes for the hub (a key, an answer to a parcel) says so.
"""
