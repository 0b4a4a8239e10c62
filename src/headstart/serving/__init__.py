"""Champions over HTTP: raw inputs in, answers out, every answer journalled off the request's path."""
