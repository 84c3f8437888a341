"""Keystile: an API-key gateway in front of a REST API.

Law: nothing but the version stands here, so that importing the package costs nothing.
"""

__version__ = "0.1.0"
