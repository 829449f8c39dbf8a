"""`openmcp policy`: what the policies say, before and after they are in force."""
