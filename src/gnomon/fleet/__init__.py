"""The fleet protocol: federated rounds with a time and energy ledger, and K and E chosen at the least cost.

K is the number of clients a round, E the number of local iterations (Luo et al., INFOCOM 2021 and JSAC 2021).
"""
