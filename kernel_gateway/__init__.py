"""Kernel Gateway: run code on a Jupyter kernel and never lose a line of what it printed.

This file imports nothing, on purpose: parts of the package run inside users' kernels, where an
import here would be paid by everyone and could clash with what the user has installed.
"""
