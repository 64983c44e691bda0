"""MiniStack with what this system's Terraform and its tests need beyond it.

Each file named after a service closes one gap. Its docstring says which function of MiniStack it
replaces or stands beside, why, and when it can go.
"""
