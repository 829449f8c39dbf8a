"""Which agent is this, and who vouches for it?"""
