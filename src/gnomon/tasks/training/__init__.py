"""Tasks of the training suite: data and metric in NumPy, the reference implementation in PyTorch beside."""
