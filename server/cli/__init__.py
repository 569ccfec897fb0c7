"""`rounds-hub`: the coordinator's commands, each in a module of its own that is loaded when it is typed.

In: what a person types at the hub. Out: text on that terminal, and changes in the hub's folder.
"""
