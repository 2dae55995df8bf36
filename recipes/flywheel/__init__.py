"""The data flywheel: battle, learn, measure, and keep what is proven better."""
