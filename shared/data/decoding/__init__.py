"""Pictures decoded in processes of their own, with limits of seconds and memory.

In: paths of files. Out: pixels, or what is wrong with the file.
"""
