"""The fusion lab: the same questions and the same compute through every way of joining pictures and words."""
