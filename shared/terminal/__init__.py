"""What both programs show at a terminal: commands, tables, pages from templates, sentences on errors.

In: values. Out: text and HTML.
"""
