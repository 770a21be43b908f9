"""What a person does with the tables besides a sync: plan it, verify them, check the access, see their status."""
