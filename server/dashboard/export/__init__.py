"""What is taken along: the whole audit as one HTML file, as PDF, and the model card as XML.

In: the pages of one study. Out: files that need no network.
"""
