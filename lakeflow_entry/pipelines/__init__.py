"""A pipeline spec, run: on local Spark into Delta, or declared to Spark's declarative pipelines."""
