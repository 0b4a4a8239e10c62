"""How headstart is deployed; `stack` tries it on this machine. Nothing here is installed with the package."""
