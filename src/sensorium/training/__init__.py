"""The parts of a training run: features on disk, schedule, loop, state."""
