"""What the hub knows of each site, what is missing, and whose turn it is.

In: the hub's folder and the records of its runs. Out: lines for `rounds-hub sites` and the dashboard; nothing here
asks a site anything.
"""
