"""What people see of groups before they believe in them: summaries, the choice of K, validation."""
