"""Who this site is: its folder, its keys, its `site.yaml` as text, and the sealed backup of all of it.

In: a folder and a passphrase. Out: keys that stay, and the introduction that is sent to a hub; private keys leave in
a sealed backup alone.
"""
