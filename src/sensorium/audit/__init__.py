"""Checks of a model and of its exam: does it look, does it tell what is there, has it seen the answers before."""
