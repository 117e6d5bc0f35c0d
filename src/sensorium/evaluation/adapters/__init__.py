"""Other harnesses: our models inside theirs, our results in their form."""
