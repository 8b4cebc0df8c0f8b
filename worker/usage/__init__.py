"""What a run consumes: CPU, memory and GPU time, each figure with the method that measured it."""
