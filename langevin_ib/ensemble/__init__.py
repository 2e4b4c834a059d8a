"""Many chains at once: the runner, accumulators on the device, recorded trajectories, checkpoints."""
