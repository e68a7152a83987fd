"""The time-to-train protocol: seeds run until the quality target, and an olympic mean comes out."""
