"""What every request passes: addresses, headers, limits, origins, and pages for what is refused.

In: requests of browsers. Out: the same requests, or refusals.
"""
