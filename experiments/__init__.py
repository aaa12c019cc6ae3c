"""The command line, and what gathers runs into answers."""
