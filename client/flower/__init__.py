"""The site's reach into Flower beyond its public API: whether the hub knows this node's key.

In: the hub's address, its CA and the node key. Out: Flower's answer in our own words; what leaves is the public key and
a signed time, as with every request of the node.
"""
