"""Pictures of an architecture: one diagram model, several views of it, several file formats."""
