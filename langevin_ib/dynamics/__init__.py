"""What moves chains: kernels, confinements, noises, one file each."""
