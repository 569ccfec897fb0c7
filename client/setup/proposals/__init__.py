"""What setup reads out of a hospital's own files: ways to read them, columns, classes, patients, numbers.

In: a folder, its tables and headers. Out: proposals with reasons for the person at the terminal; nothing leaves.
"""
