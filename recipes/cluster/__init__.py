"""Cluster planning: machines, layouts, memory, throughput and site settings."""
