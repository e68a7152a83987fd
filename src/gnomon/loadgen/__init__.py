"""The load protocol: queries arrive under a scenario; latency and throughput come out."""
