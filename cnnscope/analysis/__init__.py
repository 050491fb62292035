"""Pure passes: a `Graph` in, a frozen result out. Nothing here draws, prints or imports torch."""
