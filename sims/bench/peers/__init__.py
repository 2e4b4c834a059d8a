"""What the engine is measured against, one file each, behind one contract (`base`)."""
