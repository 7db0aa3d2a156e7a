"""What the kernels said: console logs cut into boots and read for the facts the replay needs."""
