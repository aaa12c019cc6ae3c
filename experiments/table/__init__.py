"""One command for one table: every arm with every seed, finished runs kept, interrupted ones resumed."""
