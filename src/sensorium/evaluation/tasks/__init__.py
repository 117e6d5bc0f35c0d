"""The exams: one small file a family, found by name in `registry`."""
