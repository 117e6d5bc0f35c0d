"""What is learned, one objective a file: callables that return a `Loss`."""
