"""The workspace's Prefect flows: what touches the world, and the order in which stages run."""
