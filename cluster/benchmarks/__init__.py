"""The parts of cluster/benchmark: the rows for one node, the rows for a cluster, and what both need."""
