"""What the student learns from: the objective and the teacher's targets.

In: outputs of student and teacher. Out: losses and targets, which stay where the images are.
"""
