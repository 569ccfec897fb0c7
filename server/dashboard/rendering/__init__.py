"""How pages are made: templates, static files, pages of lists, words for states, CSV.

In: values of views. Out: HTML and files in which every value is escaped.
"""
