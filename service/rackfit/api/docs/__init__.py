"""`/docs`: the contract as one page that needs no script and loads nothing."""
