"""Samples to train on: packing, and questions made from captions."""
