"""Several runs of one small network carried out as one batch: the same numbers as alone, to the last bit, in less time.

The runs of a group differ in their seed, or in settings of the optimiser. Their weights lie in stacked tensors of which
each member's network holds views, so that all that happens at the edges of tasks is the lone run's own code. What
happens at every update is captured once as a list of operations (capture.py), and each of these is then done for all
members at once where that gives the same bits, else for one member after the other (lift.py); which of the two it is,
is tried on random numbers of the very shapes, on the machine at hand. So there is no tolerance: a group leaves the bytes
that its members would have left alone, and whether runs were grouped, how, and in which sitting is of no consequence to
any result. That is why grouping is automatic. Where equality cannot be had, a run is carried out alone; a batch that is given
up says so, and why, on the launcher's stderr and as `apart` in the provenance of its runs.

Settings of the optimiser may differ in a group, for each setting has an optimiser of its own over its members. Numbers of the
learner (a penalty's strength, the share of replay) may not: they are captured as constants of the operations.
"""
