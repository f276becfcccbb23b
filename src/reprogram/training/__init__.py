"""Learning a program: its options, the training loop, the state between two steps, and the result."""
