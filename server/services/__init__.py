"""The processes of the hub: started, watched, ended, and what they write down of themselves.

In: the hub's folder and the ports that a person chose. Out: running services and their health.
"""
