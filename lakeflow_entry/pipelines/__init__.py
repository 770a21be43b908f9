"""Runs a pipeline spec on local Spark into Delta, or declares it to Spark's declarative pipelines."""
