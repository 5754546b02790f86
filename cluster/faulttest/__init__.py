"""The parts of cluster/faults: the history of a run, the checker of histories, clients, servers, and the faults (nemeses)."""
