"""`openmcp pin`: what servers offered at first sight, what is different by now, and accepting it."""
