"""The options of each verb; what a verb does stands beside this folder."""
