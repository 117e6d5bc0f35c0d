"""Scores that mean something: tasks, answers kept on disk, floors, and estimates with intervals."""
