"""Media tensors to features: pictures, sound, clips and text, each with its one preprocessing."""
