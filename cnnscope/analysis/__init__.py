"""Pure passes: each takes a `Graph` and returns a frozen result. Nothing here draws, prints or imports torch."""
