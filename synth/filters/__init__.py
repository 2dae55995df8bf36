"""Filters over texts, vectors and columns: duplicates, neighbours, language, decontamination, and the choice of rows.

Everything here works on plain sequences and arrays, and gives the same answer for the same rows in any order.
"""
