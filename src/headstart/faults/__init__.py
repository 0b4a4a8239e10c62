"""How transfer learning breaks in production, and what mends it."""
