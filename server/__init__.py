"""The coordinator's side: drives rounds, merges updates, audits the global student."""
