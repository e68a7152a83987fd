"""What is solved: one module a task, with its data, metric and reference model."""
