"""Load test of a served model: latency of its replies at several numbers of concurrent talkers."""
