"""Boards: a process of this computer, an emulated microcontroller, or one that is plugged in."""
