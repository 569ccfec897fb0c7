"""The read-only API for programs: what the pages show, as JSON, behind a token of its own."""
