"""Landmark tables, rigid alignment, cameras: the geometry that every stage shares."""
