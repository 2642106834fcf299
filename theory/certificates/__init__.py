"""Certificates for one model that need no curvature and no radius (T21 to T24)."""
