"""Who reads the dashboard and what they may do: accounts, passwords, sessions, roles, tokens.

In: names, passwords and cookies. Out: sessions with a role, or a refusal.
"""
