// Metrics, health, structured logs.
