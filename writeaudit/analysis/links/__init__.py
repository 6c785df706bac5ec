"""WA101 to WA106: links that were refused, and what was done instead."""
