"""What is checked before anything is touched, beside each store's own probe.

messages       what the checks and the preview answer with
contributors   whom the CSV names, and whether that is more than the policy allows
overlaps       other batches that are under way with the same people
estimating     how long the erasure will take
steps          the activities
"""
