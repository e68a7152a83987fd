"""The host board: a process that answers as a board does, and infers on this computer's processor."""
