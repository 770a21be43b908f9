"""Deployment artifacts for Databricks: the single file, the wheel, the source tree."""
