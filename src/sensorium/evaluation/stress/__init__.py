"""Media and questions harmed step by step, so that a score is a curve and not a point."""
