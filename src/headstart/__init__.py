"""headstart: transfer learning that is chosen from evidence, gated before deployment and watched after it."""
