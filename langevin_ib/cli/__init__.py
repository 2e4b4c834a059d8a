"""The command lines: options from the declared settings, faults in one line."""
