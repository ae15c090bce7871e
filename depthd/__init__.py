"""depthd: hole-free metric depth for robots, published in shared memory."""
