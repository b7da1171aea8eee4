"""Networks of others that metrics look through; their weights come from ``assets`` or from the user."""
