"""Pretrained networks: fetched, checked, stored clean, and given a head."""
