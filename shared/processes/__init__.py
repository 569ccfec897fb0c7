"""Processes that are started, watched and ended in order, whatever ends their parent.

In: commands. Out: running processes, their health, and none that is left behind.
"""
