"""The ground floor: knows no protocol and no suite."""
