"""Bulk jobs: units of work done exactly once by any number of workers, here or on a SLURM or Ray cluster."""
