"""What makes a measure proper, one file each."""
