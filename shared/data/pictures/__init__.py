"""Files of the usual kinds as pictures: formats, limits, masks and the codecs' doubts.

In: files. Out: pixels of 8 bits a channel, upright, or what is wrong.
"""
