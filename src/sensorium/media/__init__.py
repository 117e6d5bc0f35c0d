"""Media files to tensors and back, within limits."""
