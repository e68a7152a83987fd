"""Real federations on Flower: Gnomon's server as a Flower strategy, its learners as Flower clients."""
