"""Stands in for Stereolabs' pyzed: the names, signatures, enumerations, errors and defaults of SDK 4.2 and
5.2, serving frames of the virtual camera. What the real package refuses, this one refuses.
"""
