"""Media features into the language model: layout, connectors, splice, and gated cross-attention."""
