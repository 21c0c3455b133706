"""Payloads: relocation, records, licenses, debug data, and their own test."""
