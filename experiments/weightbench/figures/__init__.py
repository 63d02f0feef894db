"""Figures: functions from rows to Matplotlib figures. Nothing here measures anything."""
