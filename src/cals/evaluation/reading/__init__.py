"""`cals readability`: whether a lip reader reads generated mouths as it reads real ones."""
