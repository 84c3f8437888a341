"""``python -m bench``: what a request costs through Keystile and through its neighbours, side by side.

Law: everything here measures programs from outside, through sockets and /proc. Nothing of it is part of
the gateway; only ``gateways/keystile.py`` knows Keystile at all, and only through its store and its command.
"""
