"""gateway: one endpoint for model clients in front of many downstream services."""
