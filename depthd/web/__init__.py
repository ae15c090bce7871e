"""The live page: a process that only reads the shared memory, and serves what it sees to browsers."""
