"""How results look: tables for people, records for programs, diagnostics for whoever made the mistake."""
