"""What is deployed to Databricks: the single file, the wheel, the source tree."""
