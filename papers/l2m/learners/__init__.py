"""One file a method: what it trains, what it changes in the frozen net, and what it penalises."""
