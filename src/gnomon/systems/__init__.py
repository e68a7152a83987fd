"""What is measured: one module a runtime."""
