"""Runs on a SLURM cluster: profiles, code snapshots, submissions, and what a job does. submitit is the engine.

submit.py    from requests to job arrays       job.py     what runs inside a job
profile.py   what to ask the cluster for       states.py  where every run stands
snapshot.py  the code that queued jobs will run
submission.py what was submitted, as a folder of plain files
"""
