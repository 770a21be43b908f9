"""Operations besides the sync itself: plan a sync, verify tables, check access, show the status."""
