"""Metrics, one family a file: scores of one answer, and rows of counts whose measure `estimate` can bootstrap."""
