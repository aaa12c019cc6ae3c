"""One self-contained page of everything that the finished runs say."""
