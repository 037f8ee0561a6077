"""Networks; they know no paths, no devices and no losses."""
