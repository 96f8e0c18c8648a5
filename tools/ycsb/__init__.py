"""The YCSB core workloads A, B and C: on the unix cluster, and on the modelled radio."""
