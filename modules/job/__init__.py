"""job: the stages of one generation job, each a file of functions that take the processing object and what else they
need.
"""
