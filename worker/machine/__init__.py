"""What the machine is: limits, CPU, GPUs, place; each fact with its source."""
