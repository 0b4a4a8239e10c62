"""BatchNorm statistics of an exported network: measured on images, held against stored ones, and re-estimated."""
