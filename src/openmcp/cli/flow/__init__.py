"""`openmcp flow`: recorded flows, for people. Each module is one command; `group` names their options."""
