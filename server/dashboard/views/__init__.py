"""What each page shows, read from the store in a handful of statements; no markup beyond figures."""
